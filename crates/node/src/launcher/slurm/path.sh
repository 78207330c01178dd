#!/bin/sh
# A file name in Slurm's pattern: %j and %A the job, %a the array index, %t the task, %n the node, %N its name, %s
# the step, %x the job's name, %u the user; %4t with zeros in front. All elements of an array have the job's number here, so in
# them %j is JOB_INDEX: two elements never write one file.
job=$SLURM_JOB_ID${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
rest=$1 path=''
while case $rest in *%*) ;; *) false ;; esac do
  path=$path${rest%%\%*} rest=${rest#*%}
  width=''
  while case $rest in [0-9]*) ;; *) false ;; esac do
    width=$width${rest%"${rest#?}"} rest=${rest#?}
  done
  letter=${rest%"${rest#?}"} rest=${rest#?}
  case $letter in
    %) part=% ;;
    j) part=$job ;;
    A) part=$SLURM_JOB_ID ;;
    J) part=$job.${SLURM_STEP_ID:-batch} ;;
    a) part=${SLURM_ARRAY_TASK_ID:-4294967294} ;;
    t) part=${SLURM_PROCID:-0} ;;
    n) part=${SLURM_NODEID:-0} ;;
    N) part=$SLURMD_NODENAME ;;
    s) part=${SLURM_STEP_ID:-batch} ;;
    x) part=${SLURM_JOB_NAME:-sbatch} ;;
    u) part=${USER:-$(id -un)} ;;
    *) part=%$width$letter width='' ;;
  esac
  case $part in *[!0-9]*) ;; *) [ -z "$width" ] || part=$(printf "%0${width}d" "$part") ;; esac
  path=$path$part
done
printf '%s\n' "$path$rest"
