#!/bin/bash
# Whole nodes of equal GPUs, one rank a GPU:
#
#   sbatch --nodes=4 train.sh native_2x --train "/data/train/*.zip" --validation "/data/val/*.zip"
#
# Two minutes before the time is over, SLURM sends SIGUSR1: the ranks save the step that they are at
# and end with status 130, and the job is put into the queue again, where it goes on.
#SBATCH --job-name=decametre-train
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

# srun no longer asks for as many cores as the job by itself.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
# Workers draw patches while the GPU computes; one thread each.
export OMP_NUM_THREADS=1

srun --kill-on-bad-exit=1 decametre train "$@" --device cuda --set data.workers=6
status=$?
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
