#!/bin/bash
# Unequal devices in one job: a node with 4 new GPUs, one with 8 old GPUs, and two CPU nodes.
# Each rank gets the share of the global batch that it can compute in the time of the others.
#
#   sbatch train_mixed.sh native_2x --train "/data/train/*.zip" --validation "/data/val/*.zip"
#
# This is a heterogeneous job: adapt the lines of its components to your partitions. Gradients are
# exchanged with gloo, because some ranks have no GPU.
#SBATCH --job-name=decametre-mixed
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --nodes=1 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8 --partition=new-gpus
#SBATCH hetjob
#SBATCH --nodes=1 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=4 --partition=old-gpus
#SBATCH hetjob
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=64 --partition=cpus

# SLURM's variables describe a task's own component only: set world size and rank 0's address here.
export WORLD_SIZE=$((SLURM_NTASKS_HET_GROUP_0 + SLURM_NTASKS_HET_GROUP_1 + SLURM_NTASKS_HET_GROUP_2))
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST_HET_GROUP_0" | head -n 1)
export MASTER_ADDR
export MASTER_PORT=29500

train=(decametre train "$@" --device auto --set distribution.balance=auto)
srun --kill-on-bad-exit=1 \
    --het-group=0 --cpus-per-task=8 "${train[@]}" : \
    --het-group=1 --cpus-per-task=4 "${train[@]}" : \
    --het-group=2 --cpus-per-task=64 "${train[@]}"
status=$?
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
