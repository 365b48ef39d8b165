# What farend.sh does otherwise for a shell that is kept: read together with shell.py. It stands
# before the last part of farend.sh, in place of its functions of the same names.
#
# The command is `sh -s`, whose script is written on the way: of each command its line, and a line
# that prints the end marks behind its output into both streams. Control lines:
#
#   C TEXT     a command without input
#   N TEXT     a command whose input follows
#   I COUNT    so many bytes of it; they stand behind the line
#   E          the end of it
#   D          nobody reads it any more
#   W NUMBER   do not wait until this command, counted from 1, has ended: show what it prints
#   K SIGNAL   for all that the shell has started, and not for the shell
#
# To start a process is what takes time, so that most commands are shown by three in all, two of which
# wait for them: what they print stays in its two pipes until they end, and then goes out in one piece,
# with sums that the pump makes by itself. Only what takes longer (W) or is longer is shown as it comes.
#
# The one that waits longest reads stderr, which is mostly empty until the end marks. W wakes it by a
# word of its own in that pipe, the beginning of a mark and a w: the client takes it out again.
#
# File descriptors that are others than in farend.sh: 5 wakes the pump, on 7 it says that it is
# ready and the one who feeds says who it is. In the pump, 3 and 4 are what it reads; in ctl 4 is the
# script, and 8 leads to what does for it what may take long.
_h od && [ "$(printf a | od -An -v -to1 2>&1)" = " 141" ] || {
printf "\036%s X 1\n" $_k
exit 1
}
_kids() {
for _l in /proc/[0-9]*/stat; do
read -r _b _l _l _z _l <$_l
[ "$_z" = $2 ] && (_tree $1 $_b)
done
}
_ctl() {
exec 3>&- 4>&- 8>&- 9>&1
trap "" HUP
_obey 8>&1 >&9 9>&- | _help
}
_obey() {
read -r _p <&7
read -r _x _w </proc/self/stat
echo _c=$_x >&6
read -r _p <&7
# Straight into the shell, while it waits for its first line; and what its parent has open.
read -r _x _x _x _n _x </proc/$_p/stat
exec 4>/proc/$_p/fd/0
_n=/proc/$_n/fd _q=\\036$_k\\036
echo $_n >&8
# In braces, so that `set -x` shows none of it. Past the shell's own descriptors, which may lead
# anywhere by now. The empty line: bash reads `{` wrongly behind a quote that was not closed.
_e="{ command printf \"$_q %s c $_q\" \"\$?\" >$_n/3; command printf \"$_q$_q\" >$_n/4; command echo c >$_n/5; } 2>/dev/null"
while read -r _x _w; do
case $_x in
C) printf "%s\n" "$_w </dev/null" "" "$_e" >&4;;
N)
echo N
_f=o
# The one before may be late to take its o.
until [ $_f != o ]; do
read -r _f <&7
[ $_f = o ] && echo o >&7
done
echo
printf "%s\n" "{ { command echo o >$_n/7; } 2>/dev/null; $_w; } </proc/$_f/fd/4" "" "$_e" >&4
;;
I)
echo $_w
dd ibs=1 obs=4096 count=$_w
;;
E) echo E;;
D) echo D $_f >&8;;
W)
echo w $_w >&5
echo W >&8
;;
K) _kids $_w $_p;;
esac
done
# First the signal: a shell whose script has ended ends by itself, has this one ended (TERM), and
# nobody is left to end what it has left in the background.
trap "" TERM
_kill TERM
exec >/dev/null 4>&- 8>&-
sleep 2
_kill KILL
}
# What may take long, in the place of obey: ash loses the beginning of a line that it waits for when a
# child of it ends meanwhile. What comes here are whole lines.
_help() {
exec >/dev/null 5>&- 6>&- 7>&- 9>&-
read -r _n
while read -r _x _f; do
case $_x in
W) printf "\036%sw" $_k >$_n/4;;
D) dd bs=65536 </proc/$_f/fd/4 & ;;
esac
done
}
# One process for the input of each command, since what it leaves has to end with it. It keeps an end
# to read from until the shell has opened its own.
_feed() {
exec 3>&- 4>&- 5>&- 6>&- 8>&-
while read -r _x; do
{
# To be opened by others: while one of its commands is redirected, 1 is something else.
exec 3</dev/fd/1 4>&1
read -r _p _x </proc/self/stat
echo $_p >&7
# Not before that was read: it reads from the same pipe.
read -r _x
read -r _x <&7
exec 3<&- 7>&-
while read -r _x && [ $_x != E ]; do
dd ibs=1 obs=8192 count=$_x
printf "\036%s c %s\n" $_k $_x >&9
done
} | :
done
}
# One pump for both streams.
_pump() {
[ $1 = e ] && return
_ready
exec 3<&0 4</dev/fd/4 8<&-
echo >&7
exec 7>&-
_i=$IFS
_oct $_m
_q=$_b
_oct "|$_m|"
_e=$_b
# What goes out for a stderr without anything is always the same.
_new
_put e $_q $_q
_0=$_w
_j=0
_z=
until [ "$_z" = x ]; do
_j=$((_j+1))
_b=$( {
dd bs=800 count=1 <&4 2>/dev/null
_z= _l=0
until [ "$_z" = c ] || [ "$_z" = x ] || { [ "$_z" = w ] && [ $_l -ge $_j ]; }; do
read -r _z _l <&5
done
printf %s "|$_m|$_z"
[ $_z = c ] && exec dd bs=800 count=1 <&3 2>/dev/null
} | od -An -v -to1)
set -- $_b
_b=" $*"
# By numbers of words: to match from the other end takes a shell long.
_o=${_b%%" $_e "*}
set -- $_o
_l=$(($#+(${#_e}+1)/4))
set -- $_b
shift $_l
_new
case $_o in
" $_q $_q") _f=z _w=$_0;;
*) _put e $_o;;
esac
_t=$_f
case $1 in
143)
_z=c
shift
_g="$_a $_h $_r" _1=$_w
_new
_put o "$@"
_w=$_w$_1
_out
# What is longer.
[ $_f ] || (exec 5<&3; _more o)
[ $_t ] || {
set -- $_g
_a=$1 _h=$2
shift 2
_r=$*
(exec 5<&4; _live e)
}
;;
*)
[ $1 = 170 ] && _z=x || _z=w
_out
[ $_t ] || (exec 5<&4; _live e) &
(_a=0 _h=0 _r= ; exec 5<&3; _live o)
wait
until [ $_z = c ] || [ $_z = x ]; do
read -r _z _l <&5
done
;;
esac
done
exec 5<&3 4<&-
_sink
}
_oct() {
set -- $(printf %s "$1" | od -An -v -to1)
_b="$*"
}
_new() { _a=0 _h=0 _r= _w=; }
# Adds one piece of stream $1 to what goes out; it ends the stream if _f is z. The sums go on from
# those of the pieces before, and no number is too large for the shells that count with 32 bits.
_put() {
_d=$1 _o= _l=0
shift
for _b; do
_a=$(((_a*251+1$_b)%8388593)) _h=$(((_h*241+1$_b)%8388587))
case $_b in
012) _o="$_o\\032";;
*) _o="$_o\\$_b";;
esac
done
_b="$*"
_f= _l=$# _p=n
case "$_r $_b" in
*"$_q"*"$_q"*) _f=z;;
esac
_r=$_b
case $_b in
*000*|*032*|*"357 277 275"*)
IFS=
_o="$*"
IFS=$_i
_l=${#_o} _p=q
;;
esac
_w="$_w\036$_k $_d $_p $_l $_a.$_h ${_f:--} $_o\n"
}
# A short line is one write of any shell; dd makes one of the others.
_out() {
_b=${#_w}
# What is written as it is has four characters here for each byte.
case $_w in
*" q "*) _b=$((_b*4));;
esac
case $_b in
???|[12]???) printf "$_w" >&9;;
*) printf "$_w" | dd obs=262144 2>/dev/null >&9;;
esac
_w=
}
# Stream $1 in 5 piece by piece as it comes.
_live() {
while _b=$(dd bs=800 count=1 <&5 2>/dev/null | od -An -v -to1) && [ "$_b" ]; do
set -- $1 $_b
_put "$@"
_out
[ $_f ] && return
[ $# = 801 ] && break
done
[ "$_b" ] && _more $1
}
# What comes behind a piece that was as long as can be.
_more() {
_d=$1
set -- $_r
IFS=\\
_r="\\$*"
IFS=$_i
case $_x in
base64) _r=$(printf "$_r"; echo x);;
*) _r=$(printf "$_r" | $_x; echo x);;
esac
_r=${_r%x}
[ "$_x" = base64 ] || _r=$(printf %s $_r)
_cut $_d
}
