# What runs at the far end, around the user's command. Read together with wrapper.py, which makes it
# one line, and decoder.py, which reads what it prints. POSIX sh only: bash, dash, busybox ash.
# No single quotes and no newline inside a string; names begin with _ so that none is exported by
# being in the container's environment already.
#
#   sh -c THIS ecs-exec-magic NONCE TIMEOUT STDIN KIND WORD...
#
# STDIN is i where input will come, and b where nobody waits for single pieces of the output, and there
# is no terminal: it then comes in one run.
#
# Processes (| is a pipe; all but the command share the wrapper's process group):
#
#   main ── ( relay | ctl | feed | run ── the command, in its own group ) | pump o | pump e
#
#   relay reads the terminal
#   ctl   reads the client's control lines and ends the command when the client is gone
#   feed  hands standard input over and grants credits
#   run   starts the command, waits, and writes the end mark behind its output into both pipes
#   pump  turns one stream into frames, each of them one write
#
# File descriptors: 3 and 4 the command's two pipes, 8 the terminal to read, 9 the terminal to write;
# 5, 6 and 7 pipes on which the command's process id is told, one for each who reads it (guard, run,
# ctl): two readers of one pipe could tear a line. In a pump, 5 is its input and 6 its checksum.
: ecs-exec-magic 1
_t=$2 _i=$3 _w=$4 _n=$1
shift 4
# Words of the begin record: how bytes travel (r raw terminal, c cooked terminal, p pipes; n and m
# the same as r and c where streams cannot be told apart), encoder, checksum, how the command gets its
# own group.
_y=p
if [ -t 0 ]; then
_y=c
stty raw -echo 2>/dev/null && _y=r
fi
_h() { command -v $1 >/dev/null 2>&1; }
_x=
_h od && _x="od -An -v -tx1"
# Tools are tried, not looked up: a name on the PATH may stand for nothing.
[ "$(echo a | base64 2>&1)" = YQo= ] && _x=base64
_s=
for _p in cksum sha256sum md5sum; do
$_p </dev/null >/dev/null 2>&1 && _s=$_p && break
done
_h tee || _s=
_v="tee /dev/fd/6"
[ $_s ] || _v=cat
_g=
[ "$BASH_VERSION" ] && _g=-m
_h setsid && _g=setsid
_h dd && [ "$_x" ] && [ -e /dev/fd/0 ] && [ -e /proc/self/stat ] || {
case $_y in
c) _y=m;;
*) _y=n;;
esac
}
# The command could read the nonce in /proc: what begins records and ends streams is made here, told
# to the client before the command starts, and never stands in any argument or variable of it.
_k=$(printf %s $(dd if=/dev/urandom bs=18 count=1 2>/dev/null | $_x))
_k=${_k:-$_n-$$}
_e=$(printf "\036")
_m=$_e$_k$_e
exec 8<&0 9>&1
_b="B 1 $_y ${_x%% *}- $_s- $_g- $_k"
echo "$_e$_n $_b"
[ $_y = p ] && echo "$_e$_n $_b" >&2
# A command too long for the API call comes in as the first input: a program that sets the words.
if [ $_w = L ]; then
_w=q
_p=$(dd ibs=1 count=$1 <&8 2>/dev/null; echo x)
set -- "${_p%x}"
fi
case $_w in
q) eval "$1";;
s) set -- sh -c "$1";;
esac
# dash and ash have job control in their first process only: without setsid no group, but a tree.
_tree() {
_n=
for _l in /proc/[0-9]*/stat; do
read -r _b _l _l _z _l <$_l
[ "$_z" = $2 ] && _n="$_n $_b"
done
kill -$1 $2
for _b in $_n; do (_tree $1 $_b); done
}
_kill() { kill -$1 -$_p || _tree $1 $_p; } 2>/dev/null
# The terminal is read through a pipe: bash takes more than a line from a terminal when the kernel
# lets it seek there, and what it took would be missing from the bytes behind the line.
_relay() {
exec 3>&- 4>&- 5>&- 7>&- 9>&-
read -r _x _w </proc/self/stat
echo _q=$_x >&6
[ $_y = p ] || {
exec <&8 6>&- 8<&-
exec dd bs=4096
}
}
_ctl() {
exec 3>&- 4>&- 5>&- 8>&- 9>&-
trap "" HUP
_p=
read -r _x _w </proc/self/stat
echo _c=$_x >&6
[ $_i = i ] || exec >/dev/null
if [ $_y = p ]; then
# No terminal whose end could be read: watch for the wrapper's own end instead.
while read -r _x _x _x _x _w </proc/$_r/stat && [ $_x = $$ ]; do
sleep .3 || sleep 1
done
else
while read -r _x _w; do
case $_x in
I)
echo $_w
dd ibs=1 obs=4096 count=$_w
;;
E) exec >/dev/null;;
S)
[ $_p ] || read -r _p <&7
_kill $_w
;;
esac
done
fi
[ $_p ] || {
exec 5</dev/fd/7 7>&-
read -r _p <&5
[ $_p ] || exit
}
# Without a terminal, an interrupt reaches the wrapper alone and ends it: this is how it gets on.
[ "$_u" ] && {
_kill INT
sleep 5
}
_kill TERM
sleep 2
_kill KILL
}
_feed() {
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-
while read -r _x; do
dd ibs=1 obs=8192 count=$_x || break
printf "\036%s c %s\n" $_k $_x >&9
done
}
_guard() {
trap "" HUP
_f=0
read -r _p <&5
# $! and not a variable, which could not be set yet; 9, since between its start and its exec the
# child would take a TERM with this shell's handler, and live on.
trap "kill -9 \$!; wait \$!; exit \$_f" TERM
sleep $_t & _x=$!
wait $_x || {
sleep $((${_t%.*}+1)) & _x=$!
wait $_x
}
_f=1
_kill TERM
sleep 3 & _x=$!
wait $_x
_kill KILL
exit 1
}
_command() {
_f=0
[ $_t = 0 ] || {
{ exec </dev/null >/dev/null 3>&- 4>&- 6>&- 7>&- 8>&- 9>&-; _guard; } & _d=$!
}
# The inner shell redirects, since some shells would print "Killed" into what they redirected, and
# it forks nothing, since bash forgets an interrupt that comes while a child of it runs.
_x="echo \$\$ >&5;echo \$\$ >&6;echo \$\$ >&7;exec >&3 2>&4 3>&- 4>&- 5<&- 6>&- 7>&- 8<&- 9>&-;exec \"\$@\""
case $_g in
setsid) setsid sh -c "$_x" "$0" "$@";;
-m)
set -m
sh -c "$_x" "$0" "$@" <&0 & _w=$!
set +m
wait $_w
;;
*) sh -c "$_x" "$0" "$@";;
esac
_w=$?
[ $_t = 0 ] || {
kill $_d
wait $_d
_f=$?
}
# Before the end mark, so that what the client types at the end is for main to read.
kill $_c $_q
printf %s $_m$_m >&4
printf "%s %s %s %s" $_m $_w $_f $_m >&3
exit $_w
}
# A command that kills its parent kills _command, not what cleans up: nothing is left hanging.
_run() {
read -r _x <&6
read -r _w <&6
eval "$_x;$_w"
(_command "$@")
_w=$?
exec 3>&- 4>&-
echo x >&5
# An empty line for the case that the command never came to tell its id.
echo >&6
read -r _p <&6
# What was just started with nohup or setsid gets the time to become immune.
kill -0 -$_p && {
sleep .3 || sleep 1
_kill HUP
}
kill $_c $_q
echo x $_w >&7
}
# The frames of stream $1 as it comes in 5, until its end mark, and then its checksum.
_cut() {
_p=$( {
exec 6>&1
# In one run: until the pipe has no writer any more, and without processes for each piece. What it is
# written to carries no other stream, since b is given without a terminal only; the next record ends it.
[ "$_i$1$_x" = bobase64 ] && {
echo "$_e$_k o s" >&9
$_v <&5 | base64 >&9
}
while _b=$(dd bs=65536 count=1 <&5 2>/dev/null | $_v | $_x) && [ "$_b" ]; do
_b=$(printf %s $_b)
_f=x
_d=$_b
if [ "$_x" = base64 ]; then
_f=b
_l=$((${#_b}/4*3))
case $_b in
*==) _l=$((_l-2));;
*=) _l=$((_l-1));;
esac
_d=$(printf "%s\n" $_b | base64 -d; echo x)
_d=${_d%x}
_t=$_d
[ ${#_d} = $_l ] && [ $_y != c ] && case $_d in
*"$_u"*)
case $_d in
*"$_c"*) ;;
*)
_d=$(printf %sx "$_d" | LC_ALL=C sed "s/$_u/$_c/g")
_d=${_d%x}
[ "$_d" ] && _f=u
;;
esac
;;
*) _f=t;;
esac
[ $_f = b ] && _d=$_b
_b=$_t
fi
printf "\036%s %s %s %s\n%s\n" $_k $1 $_f ${#_d} "$_d" | dd obs=262144 2>/dev/null >&9
case $_r$_b in
*"$_n"*"$_n"*) break;;
esac
_r=$_b
done
} | ${_s:-cat})
printf "\036%s z %s %s\n" $_k $1 "$_p" >&9
}
_pump() {
exec 4>&- 7>&- 8>&-
_ready
exec 5<&0
_r=
_cut $1
_sink
}
_ready() {
LC_ALL=C
exec 9>&1
_u=$(printf "\357\277\275")
_c=$(printf "\032")
_n=$_m
[ "$_x" = base64 ] || _n=$(printf %s $(printf %s $_m | $_x))
}
# What a child left behind still writes is thrown away, so that it lives on; the drain must not
# hold the terminal, and is not left behind when nobody writes.
_sink() {
(trap "" HUP; exec <&5 >/dev/null 2>&1 5<&- 6>&- 7>&- 9>&-; exec dd bs=65536 of=/dev/null) & _d=$!
_l=0
while [ $_l -lt 30 ] && kill -0 $_d 2>/dev/null; do
_l=$((_l+1))
sleep .03 || sleep 1
done
}
# Anonymous pipes: the reading end of one that stands in a pipeline is opened for both directions.
_pipe() {
# The first of these has main as its parent: ctl watches it where there is no terminal.
[ $_l = 7 ] && read -r _r _p </proc/self/stat
case $_l in
7) exec 7<>/dev/fd/0;;
6) exec 6<>/dev/fd/0;;
*)
exec 5<>/dev/fd/0
_main "$@"
exit
;;
esac
_l=$((_l-1))
: | _pipe "$@"
}
_main() {
# exec and not redirections of the groups: ash keeps a copy of what those replace, and leaves it open
# in the tools that are built into it.
{ exec 4>&1
{ exec 3>&1 >/dev/null 2>/dev/null
_relay | _ctl | _feed | _run "$@"
} |
{ exec >&9 2>/dev/null; _pump o; }
} |
{ exec >&2; _pump e; }
echo x 1 >&7
while read -r _x _w <&7 && [ $_x != x ]; do :; done
# The agent gives what was lost on the way 2 s to be sent again once this process ends: a connection
# that was cut needs longer. The client says when it has all, or goes, or has had a minute.
[ $_y = p ] || {
(exec >/dev/null 2>&1 8<&- 9>&-; sleep 60; kill -9 $$) & _x=$!
read -r _p <&8
kill $_x
}
exit $_w
}
case $_y in
n|m)
("$@") </dev/null
_w=$?
echo "$_e$_k X $_w"
exit $_w
;;
esac
_l=7
_u=
if [ $_y = p ]; then
# An interrupt reaches this process alone. A shell that waits for a foreground child would not act
# on it, and children in the background ignore it: env makes that good where it can.
env --default-signal=INT,QUIT true 2>/dev/null && {
_u=1
set -- env --default-signal=INT,QUIT "$@"
}
trap "exit 130" INT
: | _pipe "$@" &
wait $!
else
: | _pipe "$@"
fi
