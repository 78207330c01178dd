#!/bin/sh
# Runs a batch script that reads a file as its standard input (#SBATCH --input), or whose output goes to files as well
# (--output, --error), read and written by the task itself, with its own rights and in its own root. The pool's log has
# all of the output too.
pond_here=${0%/*}
pond_signals='HUP INT QUIT USR1 USR2 TERM'

# The file of a pattern; nothing for none. Other nodes of a gang than the first write beside it, not into it.
file() {
  case $1 in
    '' | none | /dev/*) return ;;
  esac
  pond_path=$("$pond_here/.path" "$1")
  if [ "$SLURM_NODEID" != 0 ]; then
    pond_of_first=$(SLURM_NODEID=0 SLURM_PROCID=0 SLURMD_NODENAME=first "$pond_here/.path" "$1")
    [ "$pond_path" != "$pond_of_first" ] || pond_path=$pond_path.$SLURM_NODEID
  fi
  printf '%s\n' "$pond_path"
}
# Whether it can be written; says so if not. $2: what is there stays.
opened() {
  [ -n "$1" ] || return 1
  if [ -n "$2" ]; then (: >> "$1"); else (: > "$1"); fi && return
  echo "sbatch: cannot write $1; is its folder there? The pool keeps the output: \`pond logs $SLURM_JOB_ID\`" >&2
  return 1
}
# Takes its input on, into file $1 as well, and says who it is.
keep() {
  echo "keeper $(exec sh -c 'echo "$PPID"')" >&7
  if [ -n "$1" ]; then exec tee -a -- "$1"; else exec cat; fi
}

pond_in=''
case ${SBATCH_INPUT:-} in '' | none | /dev/null) ;; *) pond_in=$("$pond_here/.path" "$SBATCH_INPUT") ;; esac
if [ -n "$pond_in" ]; then
  if [ ! -r "$pond_in" ] || [ -d "$pond_in" ]; then
    echo "sbatch: cannot read $pond_in, which --input names; is it there, seen from inside the task?" >&2
    exit 1
  fi
  exec < "$pond_in"
fi
pond_out=$(file "${SBATCH_OUTPUT:-}") pond_err=$(file "${SBATCH_ERROR:-}")
[ -n "${SBATCH_ERROR:-}" ] || pond_err=$pond_out
pond_append=''
case ${SBATCH_OPEN_MODE:-} in a*) pond_append=1 ;; esac
opened "$pond_out" "$pond_append" || pond_out=''
opened "$pond_err" "$pond_append$([ "$pond_err" != "$pond_out" ] || echo 1)" || pond_err=''
[ -n "$pond_out$pond_err" ] || exec "$@"

# Signals of the pool go to the whole group: the script is to act on them, who keeps its output is to see its end.
# They are ignored from before any of these is there; the part that runs the script takes that back.
trap '' $pond_signals
exec 5>&1 6>&2
{
  {
    {
      {
        trap : $pond_signals
        "$@" 2>&8 5>&- 6>&- 7>&- 8>&-
        echo "code $?" >&7
        # As at the end of any task nothing of it stays.
        kill -TERM 0
      } | keep "$pond_out" >&5
    } 8>&1 | keep "$pond_err" >&6
  } 7>&1
} | {
  pond_keepers='' pond_late='' pond_code=1
  # What the script left in a group of its own would hold its output open for ever. Shells say nothing of this signal.
  late() {
    [ -z "$pond_late" ] || kill -KILL "$pond_late" 2> /dev/null
    (sleep 2 && kill -s PIPE $pond_keepers) > /dev/null 2>&1 5>&- 6>&- &
    pond_late=$!
  }
  while read -r pond_word pond_value; do
    case $pond_word in
      keeper)
        pond_keepers="$pond_keepers $pond_value"
        [ -z "$pond_late" ] || late ;;
      code)
        pond_code=$pond_value
        late ;;
    esac
  done
  [ -z "$pond_late" ] || kill -KILL "$pond_late" 2> /dev/null
  exit "$pond_code"
}
