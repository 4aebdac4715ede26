# Runs one script on a machine, and ends it when the connection ends.
#
# $1 is the script's length in bytes. Standard input is a row of pieces, each
# a line with its length and then that many bytes; the first bytes of all are
# the script, the rest is the script's standard input, and length 0 is its
# end. After that the channel stays open: when it closes, or when a piece is
# cut short, nobody waits for the script any more, and its whole process group
# is killed. So input that was cut off is never taken for input that ended.
#
# sshd and sudo start this in a process group of its own, by which its parts
# reach each other: TERM says that the script must die, USR1 that it has ended.

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
    pid='' gone=''
    trap 'gone=1; kill_script' TERM
    # A folder that the script may make. It is killed without a chance to tidy up.
    scratch="/run/pai-script.$$"
    # A command in the background gets /dev/null, unless told otherwise.
    exec 3<&0
    SCRATCH="$scratch" setsid sh -c '
        script=$(dd bs="$1" count=1 iflag=fullblock status=none)
        set -eu
        eval "$script"
    ' sh "$1" <&3 2>&4 3<&- 4>&- &
    pid=$!
    [ -z "$gone" ] || kill_script
    while :; do
        wait "$pid"
        code=$?
        # Else a signal ended the wait, not the script.
        kill -0 "$pid" 2>/dev/null || break
    done
    [ ! -e "$scratch" ] || rm -rf -- "$scratch"
    trap '' USR1
    kill -USR1 0
    exit "$code"
}

watch() {
    trap '' TERM
    while kill -0 "$1"; do
        # The signal that ends this may have come before this shell had given up
        # the trap that it was forked with. It holds the command's output open.
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

trap : TERM USR1
# The shells have nothing to say themselves, and would die of saying it to a
# connection that is gone.
{
    [ -z "$2" ] || watch "$2" </dev/null >/dev/null 4>&- &
    pump 4>&- | supervise "$1"
} 4>&2 2>/dev/null
exit "$?"
