#!/bin/bash
# A worker with a GPU for the fleet of head.sh, which shows how to submit it.
#SBATCH --job-name=decametre-gpu-worker
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --partition=gpu

head=${1:?give the job id of head.sh; see the comment at its top}
# The worker ends before its walltime, so that its products are moved to other workers.
exec dask worker --scheduler-file "scheduler-$head.json" --preload decametre.fleet.preload \
    --nthreads 8 --memory-limit 31GiB --resources slot=3 --local-directory /tmp --no-dashboard \
    --lifetime 470m --lifetime-stagger 5m --death-timeout 300
