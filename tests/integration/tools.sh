# Run by test_tools.py, each part in the directory. ../side is another one, of the same kind.

### chmod -R
chmod -R a-w .
chmod -R u+w,o-rwx .
chmod -R 700 lib
chmod 0 lib
chmod 755 lib

### touch
touch -d 2001-01-01 UCD.pl lib
touch -r UCD.pl To
stat -c '%Y %n' UCD.pl lib To

### touch of links
ln -s x l
touch -h -d 2001-01-01 l
stat -c %Y l
touch -c none
ls none

### cp -a over
cp -a lib/. To/
cp -ru lib ../side
cp -ru lib ../side
cp -al To ../side/links

### cp of links
cp -al . ../side/all
rm -r To
find ../side/all/To -links 1 | sort

### mv of a directory
mv lib ../side/
mv ../side/lib lib2
mv -T lib2 To/lib
ls To/lib | sort

### mv over
mkdir q ../side/q
touch ../side/q/f
mv -T ../side/q q
mv UCD.pl Name.pl
ls q

### mv of many
for f in *.pl; do mv $f ${f%.pl}.old; done
mv *.old To
ls

### find -delete
find . -name '*.pl' -delete
find . -depth -type d -empty -delete
ls -R

### find -exec
find . -name 'A*' -exec rm -r {} +
find . -type d -exec chmod o-x {} +

### find of kinds
find . -type d | sort
find . -empty | sort
find . -newer UCD.pl | sort
find . -size +20 | sort

### rm -r
rm -r lib
mkdir lib
ls -A lib
touch lib/z
rm -r lib
ls lib
mkdir -p lib/Lb/deep

### rm -r twice
rm -r lib/Lb
mkdir -p lib/Lb/deep
rm -r lib
mkdir lib
find lib

### rmdir
mkdir -p n/m/o
rmdir -p n/m/o
ls -d n
rmdir lib
rmdir --ignore-fail-on-non-empty To

### sed -i
sed -i s/e/E/ *.pl; sed -i.bak 1d UCD.pl; perl -pi -e 's/a/b/' To/*.pl; ls

### tar over
tar cf ../side/t -C . lib
rm -r lib/Lb
mkdir lib
tar xf ../side/t
tar df ../side/t

### tar --overwrite
tar cf ../side/t .
tar xf ../side/t --overwrite
tar xf ../side/t --unlink-first 2>&1 | sort -u | wc -l
tar df ../side/t

### tar --remove-files
tar cf ../side/t --remove-files lib
tar tf ../side/t | sort
ls

### install
install -d -m 750 new
install -m 600 UCD.pl new/x
install -D UCD.pl a/b/c
ls -R new a

### ln
ln UCD.pl h
ln -s UCD.pl s
ln -sfn lib s
ln -sfn To s
ln -f UCD.pl Name.pl
stat -c '%h %n' h UCD.pl Name.pl
readlink s
test h -ef Name.pl && echo same

### truncate
truncate -s 0 UCD.pl
truncate -s 1M Name.pl
fallocate -l 4096 n
stat -c '%s %n' *

### redirections
echo x >> UCD.pl
: > Name.pl
echo y 1<> Name.pm
set -C
echo z > UCD.pl
echo $?

### dd
dd if=UCD.pl of=Name.pl bs=1 count=10 seek=5 conv=notrunc status=none
dd if=UCD.pl of=Name.pm bs=10 count=1 oflag=append conv=notrunc status=none

### mktemp
d=$(mktemp -d tXXXX)
touch $d/a
mv $d lib/tmpd
ls lib/tmpd

### split
split -l 100 UCD.pl part.
cat part.* | cmp - UCD.pl
rm part.a[b-d]
ls part.*

### sort -o
sort -o UCD.pl UCD.pl
sort -u UCD.pl Name.pl -o Name.pl
wc -l *.pl

### gzip
gzip -n UCD.pl
gunzip UCD.pl
gzip -nr To
ls -R To
gunzip -r To
gzip -c UCD.pl | zcat | cmp - UCD.pl

### locks
flock UCD.pl -c 'echo file'
flock lib -c 'echo directory'
set -C
> lock && > lock
ls lock

### fifo
mkfifo p
(echo hi > p &)
cat p
rm p
test -e p || echo gone

### names
touch -- -a 'b c' $'d\ne' .hidden ..more
ls -A | cat -A
rm -- -a 'b c' $'d\ne' .hidden ..more

### paths
cd lib
pwd
readlink -f . .. ../To/..
cd ../../unicore/To/..
pwd
ls -d ../*/To
stat -c %F ..

### set-group-id
chmod g+s lib
mkdir lib/sub
stat -c %A lib lib/sub
umask 077
mkdir lib/p
touch lib/p/f
stat -c %A lib/p lib/p/f

### du and ls
du -a --apparent-size lib/Age | sort
ls -lR lib/Age | grep -v total
ls -i | wc -l

### diff -r
cp -a lib ../side/
diff -r lib ../side/lib && echo eq
echo 1 >> lib/Age/V20.pl
diff -rq lib ../side/lib
rm -r ../side/lib/Lb
diff -rq lib ../side/lib

### one inode
a=$(stat -c %i lib)
touch lib/x
b=$(stat -c %i lib)
chmod 700 lib
c=$(stat -c %i lib)
test $a = $b && test $b = $c && ls -id lib | grep -q $a && echo one

### python shutil
python3 - << 'END'
import shutil
shutil.copytree("lib", "lib2")
shutil.move("To", "../side/To")
shutil.rmtree("lib")
shutil.copytree("lib2", "lib")
shutil.copytree("lib2/Lb", "lib", dirs_exist_ok=True)
shutil.make_archive("../side/archive", "zip", "lib")
shutil.rmtree("lib")
shutil.unpack_archive("../side/archive.zip", "lib")
END
rm ../side/archive.zip

### python os
python3 - << 'END'
import os
os.replace("UCD.pl", "Name.pl")
os.link("Name.pl", "link")
os.truncate("link", 9)
os.mkdir("e")
os.rename("e", "f")
os.removedirs("f")
print(sorted(os.listdir()), os.stat("link").st_nlink, sum(len(f) for _, _, f in os.walk(".")))
END

### python descriptors
python3 - << 'END'
import os
for _, folders, files, fd in os.fwalk("lib", topdown=False):
    for name in files:
        os.unlink(name, dir_fd=fd)
    for name in folders:
        os.rmdir(name, dir_fd=fd)
print(os.listdir("lib"))
fd = os.open("To", os.O_RDONLY)
os.fchdir(fd)
os.mkdir("w")
os.chdir("w")
open("a", "w").close()
os.chdir("..")
os.rename("w", "v")
print(sorted(os.listdir(fd))[-2:], os.listdir("v"))
END

### python attributes
python3 - << 'END'
import os
for name in "UCD.pl", "lib":
    os.setxattr(name, "user.a", b"b")
    print(os.listxattr(name), os.getxattr(name, "user.a"))
    os.removexattr(name, "user.a")
    print(os.listxattr(name))
END

### perl
perl -MFile::Find -MFile::Copy -MFile::Path=rmtree -e '
    find(sub { $n++ }, ".");
    print "$n\n";
    copy("UCD.pl", "c");
    move("c", "lib/c");
    rmtree("To");
    rename("lib/c", "To");
    print -s "To", "\n"'
