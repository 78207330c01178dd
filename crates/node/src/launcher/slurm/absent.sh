#!/bin/sh
# Stands for the commands of Slurm that a job of Millpond has no use of: a job reaches no pool.
name=${0##*/}
case $name in
  sbatch) next="submit what follows beforehand, with \`sbatch --dependency=afterok:$SLURM_JOB_ID\`" ;;
  salloc) next="this job has its nodes already: start the program, or \`srun\` it" ;;
  scancel) next="end the script with \`exit\`; outside: \`scancel $SLURM_JOB_ID\`" ;;
  *) next="its own facts are in SLURM_* and POND_* variables; outside: \`$name\`" ;;
esac
echo "$name: error: a job reaches no pool: $next" >&2
exit 1
