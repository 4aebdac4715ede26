package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Limits of a data set.
const (
	maxRows  = 1_000_000
	maxBytes = 64 << 20
)

// row is a point and its class.
type row struct {
	x, y  float64
	class float64 // 0 or 1
}

// moons are two half circles that no straight line separates, with noise.
func moons(n int) []row {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same data each time
	rows := make([]row, n)
	for i := range rows {
		angle := r.Float64() * math.Pi
		p := row{x: math.Cos(angle), y: math.Sin(angle)}
		if i%2 == 1 {
			p = row{x: 1 - math.Cos(angle), y: 0.5 - math.Sin(angle), class: 1}
		}
		p.x += 0.15 * r.NormFloat64()
		p.y += 0.15 * r.NormFloat64()
		rows[i] = p
	}
	return rows
}

func writeData(file string, rows []row) error {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%v,%v,%v\n", r.x, r.y, r.class)
	}
	return replace(file, []byte(b.String()))
}

// readData reads lines of x,y,class.
func readData(file string) ([]row, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxBytes {
		return nil, fmt.Errorf("%s must be a file of at most %d bytes", file, maxBytes)
	}
	var rows []row
	lines := bufio.NewScanner(io.LimitReader(f, maxBytes))
	for lines.Scan() {
		r, err := parseRow(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", file, len(rows)+1, err)
		}
		if rows = append(rows, r); len(rows) > maxRows {
			return nil, fmt.Errorf("%s has more than %d lines", file, maxRows)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return rows, nil
}

func parseRow(line string) (r row, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 {
		return r, errors.New("want x,y,class")
	}
	for i, into := range []*float64{&r.x, &r.y, &r.class} {
		if *into, err = strconv.ParseFloat(fields[i], 64); err != nil || math.IsNaN(*into) || math.Abs(*into) > 1e6 {
			return r, fmt.Errorf("%.40q is not a number of a data set", fields[i])
		}
	}
	if r.class != 0 && r.class != 1 {
		return r, fmt.Errorf("the class must be 0 or 1, not %v", r.class)
	}
	return r, nil
}

// replace writes a file that is complete at any moment, also if its machine fails. What a run
// that was killed left is written over.
func replace(file string, data []byte) error {
	next := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(next, file)
}
