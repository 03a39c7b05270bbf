#!/bin/bash
# A mixed partition as one job: workers with a GPU and workers of processors behind one scheduler.
#
#   sbatch one_job.sh sharpen products.txt out
#
# A heterogeneous job, which starts when all of it is free: adapt the components' lines to your
# partitions. The first one holds the scheduler and the fleet itself. Two minutes before the time is
# over, SLURM sends SIGUSR1: the fleet stops, and the job is put into the queue again, where it goes
# on with what is not done.
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

# Others may run a scheduler on this node; from 32768 on, Linux gives ports away by itself.
port=$((20000 + SLURM_JOB_ID % 12000))
address=tcp://$(hostname):$port
# Where nodes have several networks, add --interface ib0 to the scheduler and the workers, and give
# the address that the scheduler says.
dask scheduler --port "$port" --dashboard-address :0 &

# Memory of each worker: as asked for above, less a little for the process that watches over it.
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
if kill -0 "$fleet" 2>/dev/null; then # it was the signal that ended the waiting
    wait "$fleet"
    status=$?
fi
trap - USR1
kill $(jobs -p) 2>/dev/null
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
