#!/bin/sh
# Pid 1 of a jail, in namespaces of its own: mounts the root that was laid out for it, moves into it, and runs the command
# there without any privilege. It stays behind as the init process, so that the command gets its signals.
#
#   jail.sh LAUNCH DIRECTORY LAUNCHER... -- COMMAND...
#
# LAUNCH     a directory with `fstab` (all mounts, in order), `root` (the mount points) and `status`, which tells how far
#            we got: empty (the jail is broken), `missing` (no such command), or `ready` (the command was started).
#            Only a handle that the command does not have can write it.
# DIRECTORY  where in the jail the command starts
# LAUNCHER   words without blanks that take the last privileges away
set -eu
launch=$1 directory=$2
shift 2
exec 3>"$launch/status"

# One call for all mounts: that takes a tenth of the time of one call each.
mount --all --fstab "$launch/fstab"
cd "$launch/root"
pivot_root . .host
umount -l /.host
cd "$directory"
unset OLDPWD

launcher=
while [ "$1" != -- ]; do
    launcher="$launcher $1"
    shift
done
shift
if ! command -v "$1" >/dev/null; then
    echo missing >&3
    exit 127
fi
echo ready >&3
code=0
# A shell comments on how a command died. That is not the command's output, so our own stderr goes nowhere.
exec 4>&2 2>/dev/null
# shellcheck disable=SC2086 # the words are split on purpose
(exec $launcher "$@" 2>&4 3>&- 4>&-) || code=$?
exit "$code"
