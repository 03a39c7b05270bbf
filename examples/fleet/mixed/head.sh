#!/bin/bash
# Workers with and without GPUs in separate jobs: this job runs the scheduler and the fleet, and
# workers join it when their jobs start:
#
#   head=$(sbatch --parsable head.sh sharpen products.txt out)
#   sbatch --dependency=after:$head --array=1-8 gpu_worker.sh $head
#   sbatch --dependency=after:$head --array=1-16 cpu_worker.sh $head
#
# Submit all from one folder on a shared disk: the scheduler writes its address to
# scheduler-$head.json in it, so several heads may share the folder.
# Workers whose walltime ends are not replaced, so submit enough of them (--array=1-80%8 keeps eight
# running). If the head is submitted again, the fleet resumes.
#SBATCH --job-name=decametre-fleet
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --partition=cpu

file=scheduler-$SLURM_JOB_ID.json
# One port per job: others may run a scheduler on this node. Linux assigns ports from 32768 on.
port=$((20000 + SLURM_JOB_ID % 12000))
# If nodes have several networks, add --interface ib0 here and to the workers.
rm -f "$file" # from before this job was requeued
dask scheduler --port "$port" --dashboard-address :0 --scheduler-file "$file" &
scheduler=$!
trap 'kill "$scheduler" 2>/dev/null; rm -f "$file"' EXIT

decametre fleet "$@" --scheduler "tcp://$(hostname):$port"
