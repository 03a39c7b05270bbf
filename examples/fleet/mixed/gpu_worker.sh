#!/bin/bash
# A worker with a GPU for the fleet of head.sh, which says how to send it. It ends when the head has.
#SBATCH --job-name=decametre-gpu-worker
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --gpus-per-task=1
#SBATCH --time=08:00:00
#SBATCH --partition=gpu

# Of this head among those that share the folder.
head=${1:?give the job id of head.sh, which says how}
# Ends by itself before its time is over, so that what it has in hand goes to another.
exec dask worker --scheduler-file "scheduler-$head.json" --preload decametre.fleet.preload \
    --nthreads 8 --memory-limit 31GiB --resources slot=3 --local-directory /tmp --no-dashboard \
    --lifetime 470m --lifetime-stagger 5m --death-timeout 300
