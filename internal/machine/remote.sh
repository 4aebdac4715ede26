# Runs one script on a machine, and ends it when the connection ends.
#
# $1 is the length of the script in bytes, $2 a process without which the command
# ends, and $3 and $4 the halves of a line that is printed to both outputs before
# the script runs: what comes before it is of a login shell or of sshd. They are
# apart because a login shell with "set -x" prints this command. Standard input is a sequence of
# pieces, each a line with its length and then that many bytes. The first bytes
# are the script, the rest is its standard input, and length 0 is its end. The
# channel then stays open. If it closes, or if a piece is incomplete, the caller
# no longer waits, and the process group of the script is killed. So input that
# was cut off is never treated as complete.
#
# sshd and sudo start this in a separate process group, whose members signal each
# other: TERM kills the script, USR1 reports that it has ended.

pump() {
    # The script's input stays open until the script is dead.
    trap '' TERM
    while read -r n; do
        if [ "$n" -eq 0 ] || ! dd bs=256k count="$n" iflag=fullblock,count_bytes status=none; then
            # The end of the input, or the script does not read it.
            exec >/dev/null
            cat
            break
        fi
    done
    while :; do
        kill -TERM 0
        sleep 1
    done
}

supervise() {
    pid='' stop=''
    trap 'stop=1; kill_script' TERM
    # The script can create this directory, and is killed without a cleanup.
    scratch="/run/pai-script.$$"
    # A command in the background gets /dev/null by default.
    exec 3<&0
    SCRATCH="$scratch" setsid sh -c '
        script=$(dd bs="$1" count=1 iflag=fullblock status=none)
        echo "$2"
        echo "$2" >&2
        set -eu
        eval "$script"
    ' sh "$1" "$begin" <&3 2>&4 3<&- 4>&- &
    pid=$!
    [ -z "$stop" ] || kill_script
    while :; do
        wait "$pid"
        code=$?
        # Otherwise a signal ended the wait, not the script.
        kill -0 "$pid" 2>/dev/null || break
    done
    # The script may make it a link to a directory on disk.
    [ ! -L "$scratch" ] || { rm -rf -- "$(readlink "$scratch")"; rm -- "$scratch"; }
    [ ! -e "$scratch" ] || rm -rf -- "$scratch"
    trap '' USR1
    kill -USR1 0
    exit "$code"
}

watch() {
    trap '' TERM
    while kill -0 "$1"; do
        # The signal that ends this shell might arrive before the shell has
        # removed the trap that it inherited. It holds the output open.
        kill -0 "$$" || exit 0
        sleep 1
    done
    while :; do
        kill -TERM 0
        sleep 1
    done
}

kill_script() {
    [ -z "$pid" ] || kill -s KILL -- "-$pid" "$pid" 2>/dev/null
}

begin=$3$4
trap : TERM USR1
# The shells print nothing: writing to a closed connection would kill them.
{
    [ -z "$2" ] || watch "$2" </dev/null >/dev/null 4>&- &
    pump 4>&- | supervise "$1"
} 4>&2 2>/dev/null
exit "$?"
