#!/bin/sh
# Stands for Slurm's scontrol in a job of Millpond: names of nodes, and what the job knows of itself.
set -f
die() {
  echo "scontrol: error: $1" >&2
  exit 1
}

# One name, or one with ranges in brackets: a[1-3,07]b.
expand() (
  case $1 in
    *\[*\]*) ;;
    *) echo "$1"; return ;;
  esac
  before=${1%%\[*} rest=${1#*\[}
  ranges=${rest%%\]*} after=${rest#*\]}
  IFS=,
  for range in $ranges; do
    case $range in '' | *[!0-9-]* | -* | *-) die "Invalid hostlist: $1" ;; esac
    first=${range%-*} last=${range#*-}
    width=${#first}
    first=${first#"${first%%[!0]*}"} last=${last#"${last%%[!0]*}"}
    at=${first:-0}
    while [ "$at" -le "${last:-0}" ]; do
      expand "$before$(printf "%0${width}d" "$at")$after" || exit 1
      at=$((at + 1))
    done
  done
)

# Each name of a list: commas inside brackets do not part names.
names() {
  list=$1
  while [ -n "$list" ]; do
    name=${list%%,*}
    while case $name in *\[*\]*) false ;; *\[*) ;; *) false ;; esac do
      rest=${list#"$name",}
      [ "$rest" != "$list" ] || die "Invalid hostlist: $1"
      name=$name,${rest%%,*}
    done
    expand "$name" || exit 1
    list=${list#"$name"}
    list=${list#,}
  done
}

job() {
  [ "${1:-$SLURM_JOB_ID}" = "$SLURM_JOB_ID" ] || die "a job sees itself only; outside: \`scontrol show job $1\`"
  echo "JobId=$SLURM_JOB_ID JobName=${SLURM_JOB_NAME:-sbatch}"
  echo "   JobState=RUNNING Restarts=${SLURM_RESTART_COUNT:-0} EndTime=${SLURM_JOB_END_TIME:-Unknown}"
  echo "   Partition=${SLURM_JOB_PARTITION:-default} NodeList=$SLURM_JOB_NODELIST"
  echo "   NumNodes=$SLURM_JOB_NUM_NODES NumTasks=${SLURM_NTASKS:-$SLURM_JOB_NUM_NODES} CPUs/Task=${SLURM_CPUS_PER_TASK:-1}"
  echo "   WorkDir=$PWD"
}

while :; do
  case ${1:-} in
    -[oadQv] | --oneliner | --all | --details | --quiet | --verbose) shift ;;
    *) break ;;
  esac
done
case ${1:-}:${2:-} in
  show:hostname | show:hostnames) names "${3:-$SLURM_JOB_NODELIST}" ;;
  show:job | show:jobid) job "${3:-}" ;;
  requeue:*) die "a job cannot queue itself: end with \`exit 75\` and write \`#POND --retry-on exit:75\`" ;;
  *) die "in a job there are \`show hostnames\` and \`show job\`; other words outside of it" ;;
esac
