#!/bin/bash
# Complete nodes with equal GPUs, one rank for each GPU:
#
#   sbatch --nodes=4 train.sh native_2x --train "/data/train/*.zip" --validation "/data/val/*.zip"
#
# Two minutes before the time limit, SLURM sends SIGUSR1: the ranks save their step and end with status
# 130, and the job is requeued. It then resumes at that step.
#SBATCH --job-name=decametre-train
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

# By default srun no longer requests the cores of the job.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
# Workers prepare patches while the GPU computes; one thread each.
export OMP_NUM_THREADS=1

srun --kill-on-bad-exit=1 decametre train "$@" --device cuda --set data.workers=6
status=$?
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
