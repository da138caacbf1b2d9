# growth.gp   gnuplot -e "tsv='growth.tsv'; png='growth.png'" growth.gp
#
# Twice as large as the README shows it, for screens with small pixels.
set terminal pngcairo size 1720,1240 font "DejaVu Sans,20" linewidth 2 background "#ffffff"
set output png
set datafile separator "\t"

# ask PROGRAM  what awk prints of the results.
ask(program) = system(sprintf("awk -F '\\t' '%s' '%s'", program, tsv))
small = ask('$1 == "nodes" { print $2; exit }') + 0
first = ask('$1 == "nodes" { print $4; exit }') + 0
last = ask('$1 == "nodes" { n = $4 } END { print n }') + 0
from(field) = ask(sprintf('$1 == "nodes" { print $%d; exit }', field)) + 0
to(field) = ask(sprintf('$1 == "nodes" { x = $%d } END { print x }', field)) + 0
largest = ask('$1 == "images" && $2 > x { x = $2 } END { print x / 1024 }') + 0
most(format) = int(ask(sprintf('$1 == "images" && $3 == "%s" && $4 > n { n = $4 } END { print n }', format)))
nodes = sprintf("< grep '^nodes' '%s'", tsv)
images(format, n) = sprintf("< awk -F '\\t' '$1 == \"images\" && $3 == \"%s\" && $4 == %d' '%s'", format, n, tsv)
xz = most("img.xz")
img = most("img")
series(format, n) = sprintf(".%s, %d node%s", format, n, n == 1 ? "" : "s")

ink = "#333333"
set style line 1 linecolor rgb "#1f6fb4" linewidth 1.6 pointtype 7 pointsize 1.7
set style line 2 linecolor rgb "#1f6fb4" linewidth 1.6 pointtype 6 pointsize 1.7 dashtype (8,5)
set style line 3 linecolor rgb "#d9620e" linewidth 1.6 pointtype 5 pointsize 1.7
set style line 4 linecolor rgb "#d9620e" linewidth 1.6 pointtype 4 pointsize 1.7 dashtype (8,5)
set style line 5 linecolor rgb "#777777" linewidth 1.3 dashtype (4,5)
set border 3 linecolor rgb ink linewidth 0.8
set tics nomirror out scale 0.6 textcolor rgb ink
set grid xtics ytics linetype 1 linewidth 0.5 linecolor rgb "#e2e2e2"
set key top left Left reverse samplen 2.6 spacing 1.25 textcolor rgb ink
set title font ",23" textcolor rgb "#111111" offset 0,-0.4
set xlabel textcolor rgb ink offset 0,0.3
set ylabel textcolor rgb ink offset 0.4,0
set multiplot layout 2,2 margins 0.08,0.98,0.075,0.95 spacing 0.095,0.15

set title sprintf("Time by nodes (.img.xz of %d MiB)", small)
set xlabel "nodes"
set ylabel "seconds"
set logscale xy
set xrange [first*0.8:last*1.25]
set format "%.0f"
straight(x) = from(6) + (to(6) - from(6)) * (x - first) / (last > first ? last - first : 1)
plot straight(x) with lines linestyle 5 title "straight line (on linear axes)", \
	nodes using 4:7 with linespoints linestyle 3 title "CPU time", \
	nodes using 4:6 with linespoints linestyle 1 title "time"

set title sprintf("Peak memory by nodes (.img.xz of %d MiB)", small)
set ylabel "MiB"
unset logscale y
set yrange [0:to(8) * 1.35]
plot nodes using 4:8 with linespoints linestyle 1 title "peak memory"

set xlabel "size of the image, GiB"
unset logscale x
set xrange [0:largest * 1.04]
set xtics 1

set title "Time by the image's size"
set ylabel "seconds"
set yrange [0:*]
plot images("img", img) using ($2/1024):6 with linespoints linestyle 3 title series("img", img), \
	images("img", 1) using ($2/1024):6 with linespoints linestyle 4 title series("img", 1), \
	images("img.xz", xz) using ($2/1024):6 with linespoints linestyle 1 title series("img.xz", xz), \
	images("img.xz", 1) using ($2/1024):6 with linespoints linestyle 2 title series("img.xz", 1)

set title "Peak memory by the image's size"
set ylabel "MiB"
set key bottom right
plot images("img", img) using ($2/1024):8 with linespoints linestyle 3 title series("img", img), \
	images("img", 1) using ($2/1024):8 with linespoints linestyle 4 title series("img", 1), \
	images("img.xz", xz) using ($2/1024):8 with linespoints linestyle 1 title series("img.xz", xz), \
	images("img.xz", 1) using ($2/1024):8 with linespoints linestyle 2 title series("img.xz", 1)
unset multiplot
