#!/bin/bash
# A mixed partition as several jobs: this one holds the scheduler and the fleet, and workers join it
# as their jobs start:
#
#   head=$(sbatch --parsable head.sh sharpen products.txt out)
#   sbatch --dependency=after:$head --array=1-8 gpu_worker.sh $head
#   sbatch --dependency=after:$head --array=1-16 cpu_worker.sh $head
#
# All from one folder that every node sees: the scheduler leaves its address in scheduler-$head.json
# there, so that several heads may share the folder.
# Workers may come and go; those whose time is over are not replaced, so send as many as the work
# takes (--array=1-80%8 keeps eight at work). Sent again, the head goes on with what is not done.
#SBATCH --job-name=decametre-fleet
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --partition=cpu

file=scheduler-$SLURM_JOB_ID.json
# Others may run a scheduler on this node; from 32768 on, Linux gives ports away by itself.
port=$((20000 + SLURM_JOB_ID % 12000))
# Where nodes have several networks, add --interface ib0 here and to the workers.
rm -f "$file" # of this job before it was put into the queue again
dask scheduler --port "$port" --dashboard-address :0 --scheduler-file "$file" &
scheduler=$!
trap 'kill "$scheduler" 2>/dev/null; rm -f "$file"' EXIT

decametre fleet "$@" --scheduler "tcp://$(hostname):$port"
