# What runs in the container to read from it. POSIX sh: bash, dash, busybox ash.
# No single quotes: the line stays short. A comment stands on a line of its own.
#
#   sh -c THIS ecs-cp PATH OFFSET MARK
#
# On stdout: one line "MARK H KIND GZIP CHECKSUM OFFSET MODE SIZE TIME", then the bytes from OFFSET on,
# perhaps compressed. On stderr, among what tools say: "MARK S STATUS" of what was read, "MARK D SUM"
# of all of it, "MARK X NAME" for what cannot be copied, "MARK Z MODE SIZE TIME" of a file at its end.
# KIND is f (a file), t (tar), p (plain: "TYPE MODE TIME SIZE LENGTH", a newline, name, content).
LC_ALL=C
export LC_ALL
p=$1 o=$2 i=$3 k=p h= z=- n=0 b=0
[ -d "$p" ] || {
k=f
[ -e "$p" ] || {
ls -d "$p" >/dev/null
exit 66
}
[ -f "$p" ] || {
echo "$p: not a file or directory" >&2
exit 66
}
}
for c in sha256sum "busybox sha256sum" "openssl dgst -sha256 -r" md5sum cksum; do
case $($c </dev/null 2>&1) in
e3b0c442*|d41d8cd9*|4294967295*) h=$c; break;;
esac
done
[ "$( { echo a | tee /dev/fd/5 >/dev/null; } 5>&1 )" = a ] || h=
[ "$(echo a | gzip -1c | gzip -dc)" = a ] && z=z
[ $o = 0 ] || [ "$(echo a | tail -c +2 | wc -c)" -eq 1 ] || o=0
st() {
stat $2 -c "%a %s %Y" "$1" 2>/dev/null || {
set -- $(ls -lnd $2 "$1")
echo $1 $5 -
}
}
s=$(st "$p" -L)
case $k in
p) tar -cf - /dev/null 2>/dev/null | tar -tf - >/dev/null 2>&1 && k=t;;
*)
n=${s% *}
n=${n#* }
[ $z = z ] && [ "$(head -c 65536 "$p" | gzip -1c | wc -c)" -gt 58000 ] && z=-
;;
esac
echo "$i H $k $z ${h%% *}- $o $s"
e() {
m=$(st "$2")
[ $1 = l ] && m="777 ${#l} -"
printf "%s %s %s\n%s" $1 "$m" ${#3} "$3"
c=${m#* }
case $1 in
f) head -c ${c% *} "$2" || b=1;;
l) printf %s "$l";;
esac
}
w() {
e d "$1" "$2"
ls "$1" >/dev/null || b=1
for f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
[ -L "$f" ] || [ -e "$f" ] || continue
r=${2:+$2/}${f##*/}
if [ -L "$f" ]; then
if l=$(readlink "$f" && echo x); then
l=${l%?x}
e l "$f" "$r"
else
echo "$i X $r" >&2
fi
elif [ -d "$f" ]; then
w "$f" "$r"
elif [ -f "$f" ]; then
e f "$f" "$r"
else
echo "$i X $r" >&2
fi
done
return $b
}
src() {
case $k$n in
t*) tar -cf - -C "$p" .;;
p*) w "$p" "";;
f0) cat "$p";;
*) head -c $n "$p";;
esac
echo "$i S $?" >&2
[ $k$n = f0 ] || [ $k != f ] || echo "$i Z $(st "$p" -L)" >&2
}
sum() {
if [ "$h" ]; then
{ tee /dev/fd/5 | { x=$($h); echo "$i D $x"; }; } 5>&1 >&2
else
cat
fi
}
cut() {
if [ $o = 0 ]; then cat; else tail -c +$((o+1)); fi
}
if [ $z = z ]; then src | sum | cut | gzip -4c; else src | sum | cut; fi
