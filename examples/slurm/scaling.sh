#!/bin/bash
# The complete scaling plot: 1, 2, 4 ... ranks, up to all GPUs of this job, each measured three times:
#
#   sbatch --nodes=16 scaling.sh native_2x s2x --train "/data/*.zip" --validation other.zip --out plot
#
# The folder must be on a file system that all nodes share. If the job is submitted again, it adds to
# the measurements there. It needs no requeue, because the folder keeps the measurements.
#SBATCH --job-name=decametre-scaling
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=02:00:00
set -e

# Equal for all sizes, so that they can be compared. Workers prepare patches while the GPU computes.
export OMP_NUM_THREADS=1
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

all=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
sizes=()
for ((ranks = 1; ranks < all; ranks *= 2)); do
    sizes+=("$ranks")
done

for _ in 1 2 3; do
    for ranks in "${sizes[@]}" "$all"; do
        nodes=$(((ranks + SLURM_NTASKS_PER_NODE - 1) / SLURM_NTASKS_PER_NODE))
        srun --kill-on-bad-exit=1 --nodes="$nodes" --ntasks="$ranks" \
            decametre bench scaling "$@" --device cuda --set data.workers=6 --steps 50 --repeat 1
    done
done
