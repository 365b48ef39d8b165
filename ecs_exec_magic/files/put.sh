# What runs in the container to write into it. POSIX sh: bash, dash, busybox ash.
# A comment stands on a line of its own.
#
#   sh -c THIS ecs-cp PATH BASENAME KIND ID MARK
#
# KIND is f for a file, d for a directory. On stdout: "MARK H OFFSET TAR GZIP CHECKSUM", and at the
# end "MARK R PATH". On stdin: a line "FORMAT GZIP SUM SIZE RAWSUM MODE TIME SCRIPT", then the bytes
# from OFFSET on. FORMAT is f (a file), t (tar) or p (plain: contents, and from byte SCRIPT on the
# commands that make a tree of them). All of it lies in temporary names beside the destination until
# the checksum agrees.
LC_ALL=C
export LC_ALL
d=$1 a=$2 k=$3 i=$5 h= z=- q=- b=0 j=
if [ -d "$d" ]; then
case $a in
.) ;;
*) d=${d%/}/$a j=1;;
esac
else
case $d in
*/)
[ $k = d ] || {
echo "$d: not a directory" >&2
exit 81
}
while [ "$d" != "${d%/}" ]; do d=${d%/}; done
;;
esac
fi
p=${d%/*}
p=${p:-/}
[ -d "$d" ] && {
[ $k = d ] || {
echo "$d: is a directory" >&2
exit 81
}
[ $j ] && [ -L "$d" ] && {
echo "$d: a link to a directory is not written through" >&2
exit 81
}
p=$d
}
[ $k = d ] && [ ! -d "$d" ] && { [ -e "$d" ] || [ -L "$d" ]; } && {
echo "$d: not a directory" >&2
exit 81
}
[ -d "$p" ] || {
ls -d "$p/" >/dev/null
exit 81
}
t=${p%/}/.ecs-cp-$4
case $t in
/*) ;;
*) t=$PWD/$t d=$PWD/$d;;
esac
gone() { rm -rf "$t" "$t.d" "$t.f" "$t.s"; }
die() {
[ "$1" ] && echo "$1" >&2
gone
exit 80
}
# Without a byte of the content there is nothing that another session could go on with.
left() {
[ -s "$t" ] || gone
exit $1
}
trap die INT
trap "left 143" TERM
trap "left 129" HUP
for c in sha256sum "busybox sha256sum" "openssl dgst -sha256 -r" md5sum cksum; do
case $($c </dev/null 2>&1) in
e3b0c442*|d41d8cd9*|4294967295*) h=$c; break;;
esac
done
[ "$(echo a | gzip -1c | gzip -dc)" = a ] && z=z
tar -cf - /dev/null 2>/dev/null | tar -tf - >/dev/null 2>&1 && q=t
umask 077
true >>"$t" || exit 81
echo "$i H $(wc -c <"$t") $q $z ${h%% *}-"
read -r f z s n x m y b || left 82
trap - TERM HUP
cat >>"$t" || die
[ "$(wc -c <"$t")" -eq $n ] || {
echo "only $(wc -c <"$t") of $n bytes have come" >&2
exit 82
}
agree() {
[ "$h" ] || return 0
set -- $($h <"$1") "" $2
[ "$1" = "$s" ] || [ "$1" = "$x" ]
}
agree "$t" || die "the checksum of what has come differs"
g=$t
[ $z$f != zt ] && [ $z = z ] && {
gzip -dc "$t" >"$t.f" || die
rm -f "$t"
g=$t.f
[ $f = f ] && { s=$x; agree "$g" || die "the checksum of what was unpacked differs"; }
}
at() {
[ $1 = - ] || TZ=UTC0 touch -t $1 "$2"
}
D() { mkdir "$1" || die; }
M() { chmod $1 "$3" && at $2 "$3" || die; }
L() { ln -s "$1" "$2" || die; }
F() {
if [ $2 = 0 ]; then true >"$5"; else tail -c +$(($1+1)) "$g" | head -c $2 >"$5"; fi || die
M $3 $4 "$5"
}
merge() {
for f in "$2"/* "$2"/.[!.]* "$2"/..?*; do
[ -L "$f" ] || [ -e "$f" ] || continue
e=$3/${f##*/}
if [ -d "$f" ] && [ ! -L "$f" ]; then
if [ -d "$e" ] && [ ! -L "$e" ]; then
merge $1 "$f" "$e"
elif [ -e "$e" ] || [ -L "$e" ]; then
die "$e: not a directory, and a directory is to be there"
elif [ $1 = m ]; then
mv "$f" "$e" || die
fi
else
[ -d "$e" ] && [ ! -L "$e" ] && die "$e: is a directory, and no directory is to be there"
[ $1 = m ] && {
[ ! -L "$e" ] || rm -f "$e"
mv -f "$f" "$e" || die
}
fi
done
return 0
}
if [ $f = f ]; then
[ $m = = ] && { m=$(stat -c %a "$d" 2>/dev/null) || m=644; }
M $m $y "$g"
[ ! -L "$d" ] || rm -f "$d"
mv -f "$g" "$d" || die
else
mkdir "$t.d" || die
case $f$z in
tz) gzip -dc "$t" | tar -xpf - -C "$t.d" || die;;
t*) tar -xpf "$t" -C "$t.d" || die;;
*)
tail -c +$((b+1)) "$g" >"$t.s" || die
cd "$t.d" || die
. "$t.s"
cd / || die
;;
esac
if [ -d "$d" ]; then
merge c "$t.d" "$d"
merge m "$t.d" "$d"
else
mv "$t.d" "$d" || die
fi
fi
gone
echo "$i R $d"
