package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
)

// The plot's size and margins, in pixels, and what its axes reach.
const (
	width, height            = 760, 460
	left, right, top, bottom = 80, 24, 24, 56
	leastTime, mostTime      = 1.0, 8.0
	leastRate, mostRate      = 0.003, 1000.0
)

var colours = map[string]string{"tail": "#0b6e4f", "normal": "#c8553d", "fixed": "#3d5a80"}

// x and y are logarithmic, so that a factor is as long everywhere. What lies
// beyond the axes is drawn at their ends.
func x(intervals float64) float64 {
	v := min(max(intervals, leastTime), mostTime)
	return left + (width-left-right)*math.Log(v/leastTime)/math.Log(mostTime/leastTime)
}

func y(rate float64) float64 {
	v := min(max(rate, leastRate), mostRate)
	return height - bottom - (height-top-bottom)*math.Log(v/leastRate)/math.Log(mostRate/leastRate)
}

// draw makes the plot as SVG.
func draw(curves []curve) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img">`, width, height)
	p(`<title>Mistakes per hour against the time until a death is found</title>`)
	p(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	for _, v := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
		p(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e4e4e4"/>`, x(v), top, x(v), height-bottom)
		p(`<text x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(v), height-bottom+18, v)
	}
	for v := 0.01; v <= mostRate; v *= 10 {
		p(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e4e4e4"/>`, left, y(v), width-right, y(v))
		p(`<text x="%d" y="%.1f" text-anchor="end">%.3g</text>`, left-8, y(v)+4, v)
	}
	p(`<text x="%d" y="%.1f" text-anchor="end">none</text>`, left-8, y(0)+4)
	p(`<text x="%d" y="%d" text-anchor="middle">until a death is found, in intervals</text>`, (left+width-right)/2, height-12)
	p(`<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">mistakes per hour and agent</text>`, (top+height-bottom)/2)
	for i, c := range curves {
		drawCurve(p, c, i)
	}
	p(`</svg>`)
	return b.Bytes()
}

func drawCurve(p func(string, ...any), c curve, place int) {
	colour := colours[string(c.name)]
	points := slices.Clone(c.points)
	slices.SortFunc(points, func(a, b outcome) int { return cmp.Compare(a.intervals, b.intervals) })
	var line bytes.Buffer
	for _, o := range points {
		fmt.Fprintf(&line, "%.1f,%.1f ", x(o.intervals), y(o.mistakes))
	}
	p(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, bytes.TrimSpace(line.Bytes()), colour)
	for _, o := range points {
		if o.threshold == 0 {
			p(`<circle cx="%.1f" cy="%.1f" r="7" fill="%s"><title>%s, its default: %.2f intervals, %.3g mistakes per hour</title></circle>`,
				x(o.intervals), y(o.mistakes), colour, c.name, o.intervals, o.mistakes)
			continue
		}
		p(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s %g: %.2f intervals, %.3g mistakes per hour</title></circle>`,
			x(o.intervals), y(o.mistakes), colour, c.name, o.threshold, o.intervals, o.mistakes)
		p(`<text x="%.1f" y="%.1f" fill="%s" font-size="11">%g</text>`, x(o.intervals)+6, y(o.mistakes)-5, colour, o.threshold)
	}
	p(`<text x="%d" y="%d" fill="%s" text-anchor="end" font-weight="bold">%s</text>`, width-right-8, top+18+18*place, colour, c.name)
}
