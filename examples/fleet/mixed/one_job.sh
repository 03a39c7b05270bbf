#!/bin/bash
# Workers with and without GPUs in one job, with one scheduler.
#
#   sbatch one_job.sh sharpen products.txt out
#
# A heterogeneous job, which starts when all its components can: adapt their lines to your
# partitions. The first component runs the scheduler and the fleet. Two minutes before the walltime
# ends, SLURM sends SIGUSR1: the fleet stops, the job is requeued, and the fleet resumes.
#SBATCH --job-name=decametre-fleet
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --ntasks=1 --cpus-per-task=2 --mem-per-cpu=4G --partition=cpu
#SBATCH hetjob
#SBATCH --ntasks=8 --cpus-per-task=8 --mem-per-cpu=4G --gpus-per-task=1 --partition=gpu
#SBATCH hetjob
#SBATCH --ntasks=16 --cpus-per-task=4 --mem-per-cpu=4G --partition=cpu

# One port per job: others may run a scheduler on this node. Linux assigns ports from 32768 on.
port=$((20000 + SLURM_JOB_ID % 12000))
address=tcp://$(hostname):$port
# If nodes have several networks, add --interface ib0 to the scheduler and the workers, and use the
# address that the scheduler logs.
dask scheduler --port "$port" --dashboard-address :0 &

# Each worker gets a little less memory than requested above: another process watches it.
worker=(dask worker "$address" --preload decametre.fleet.preload --local-directory /tmp
    --death-timeout 300 --no-dashboard)
srun --het-group=1 --ntasks=8 --cpus-per-task=8 --gpus-per-task=1 \
    "${worker[@]}" --nthreads 8 --memory-limit 31GiB --resources slot=3 &
srun --het-group=2 --ntasks=16 --cpus-per-task=4 "${worker[@]}" --nthreads 4 --memory-limit 15GiB &

decametre fleet "$@" --scheduler "$address" &
fleet=$!
trap 'kill -TERM "$fleet"' USR1
wait "$fleet"
status=$?
if kill -0 "$fleet" 2>/dev/null; then # the signal interrupted wait
    wait "$fleet"
    status=$?
fi
trap - USR1
kill $(jobs -p) 2>/dev/null
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
