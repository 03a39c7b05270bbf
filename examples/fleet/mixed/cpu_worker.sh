#!/bin/bash
# A worker without a GPU for the fleet of head.sh, which shows how to submit it.
#SBATCH --job-name=decametre-cpu-worker
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --partition=cpu

head=${1:?give the job id of head.sh; see the comment at its top}
# The worker ends before its walltime, so that its products are moved to other workers.
exec dask worker --scheduler-file "scheduler-$head.json" --preload decametre.fleet.preload \
    --nthreads 4 --memory-limit 15GiB --local-directory /tmp --no-dashboard \
    --lifetime 470m --lifetime-stagger 5m --death-timeout 300
