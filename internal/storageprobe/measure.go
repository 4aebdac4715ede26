package storageprobe

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	blockSize = 1 << 20
	// partLimit ends a part of a measurement early on a slow storage.
	partLimit = 5 * time.Second
	rounds    = 21 // of the latency, odd for a median
	smallSize = 4 << 10
)

// figures are what a storage does.
type figures struct {
	writeMBs, readMBs float64
	latency           time.Duration
}

// disk is a file of a storage.
type disk interface {
	io.ReaderAt
	io.WriterAt
	// flush returns when all that was written is on the disk.
	flush() error
	// uncache makes the disk answer what is read next, and not the memory of the machine.
	uncache() error
}

// onDisk is a file as a disk.
type onDisk struct{ *os.File }

func (f onDisk) flush() error { return unix.Fdatasync(int(f.Fd())) }

func (f onDisk) uncache() error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// measure writes up to size bytes into a file until they are on the disk, reads them back from
// there, compares them, and then writes small blocks, one after the other. Data that no
// server can compress keep the figures honest. On a slow storage, each part ends early, after
// a whole number of blocks.
func measure(f disk, size int64, doing func(string)) (m figures, err error) {
	block := make([]byte, blockSize)
	for i := 0; i < len(block); i += 8 {
		binary.LittleEndian.PutUint64(block[i:], rand.Uint64()) //nolint:gosec // data that cannot be compressed, not a secret
	}
	doing("writing")
	written, took, err := writeBlocks(f, block, max(1, size/blockSize))
	if err != nil {
		return m, err
	}
	m.writeMBs = rate(written, took)
	doing("reading")
	read, took, err := readBlocks(f, block, written)
	if err != nil {
		return m, err
	}
	m.readMBs = rate(read, took)
	doing("writing small blocks")
	m.latency, err = latency(f, block[:smallSize])
	return m, err
}

// writeBlocks returns how many blocks are on the disk, and how long that took. Each is there before
// the next one is written: else the memory of the machine takes them all at once, and the disk
// takes as long as it does.
func writeBlocks(f disk, block []byte, most int64) (written int64, took time.Duration, err error) {
	start := time.Now()
	for written < most && (written == 0 || time.Since(start) < partLimit) {
		binary.LittleEndian.PutUint64(block, uint64(written))
		if _, err := f.WriteAt(block, written*blockSize); err != nil {
			return written, 0, err
		}
		if err := f.flush(); err != nil {
			return written, 0, err
		}
		written++
	}
	return written, time.Since(start), nil
}

// readBlocks compares what the disk has with what was written. It returns how many blocks it
// read, and how long that took.
func readBlocks(f disk, block []byte, written int64) (read int64, took time.Duration, err error) {
	if err := f.uncache(); err != nil {
		return 0, 0, err
	}
	got := make([]byte, blockSize)
	for read < written && (read == 0 || took < partLimit) {
		start := time.Now()
		if _, err := f.ReadAt(got, read*blockSize); err != nil {
			return read, 0, err
		}
		took += time.Since(start)
		binary.LittleEndian.PutUint64(block, uint64(read))
		if !bytes.Equal(got, block) {
			return read, 0, errDiffers
		}
		read++
	}
	return read, took, nil
}

// latency is the median time of a small write that is on the disk.
func latency(f disk, small []byte) (time.Duration, error) {
	var all []time.Duration
	begin := time.Now()
	for len(all) == 0 || len(all) < rounds && time.Since(begin) < partLimit {
		start := time.Now()
		if _, err := f.WriteAt(small, 0); err != nil {
			return 0, err
		}
		if err := f.flush(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// rate is in 1,000,000 bytes per second.
func rate(blocks int64, took time.Duration) float64 {
	return float64(blocks*blockSize) / 1e6 / max(took.Seconds(), 1e-6)
}
