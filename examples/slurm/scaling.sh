#!/bin/bash
# The whole scaling plot: 1, 2, 4 ... ranks up to all GPUs of this job, one srun a size, three times.
#
#   sbatch --nodes=16 scaling.sh FOLDER "TRAIN/*.SAFE" VALIDATION.SAFE native_2x native_6x s2x s6x
#
# FOLDER, on a file system that all nodes see, then holds measured.csv (every measurement),
# scaling.csv, scaling.json and scaling.png. Sent again, the job adds to the measurements there.
#SBATCH --job-name=decametre-scaling
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=02:00:00
set -euo pipefail

if (($# < 4)); then
    echo "usage: sbatch scaling.sh FOLDER TRAIN VALIDATION RECIPE..." >&2
    exit 2
fi
folder=$1 train=$2 validation=$3
shift 3

# The same for every size, or they would not compare. All other cores draw patches.
export OMP_NUM_THREADS=1
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
workers=$((SLURM_CPUS_PER_TASK - 1))

per_node=$SLURM_NTASKS_PER_NODE
all=$((SLURM_JOB_NUM_NODES * per_node))
sizes=()
for ((ranks = 1; ranks < all; ranks *= 2)); do
    sizes+=("$ranks")
done
sizes+=("$all")

for repeat in 1 2 3; do
    for ranks in "${sizes[@]}"; do
        echo "$ranks ranks, $repeat of 3" >&2
        srun --nodes=$(((ranks + per_node - 1) / per_node)) --ntasks="$ranks" \
            decametre bench scaling "$@" --train "$train" --validation "$validation" \
            --device cuda --precision bfloat16 --set data.workers="$workers" \
            --steps 50 --repeat 1 --out "$folder"
    done
done
