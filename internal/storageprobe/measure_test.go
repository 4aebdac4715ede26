package storageprobe

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// slowDisk is a disk behind a memory that takes everything at once.
type slowDisk struct {
	write, read float64 // in 1,000,000 bytes per second
	content     []byte
	dirty       int // bytes that are not on the disk yet
}

func transfer(n int, rate float64) { time.Sleep(time.Duration(float64(n) / rate * 1e3)) }

func (d *slowDisk) WriteAt(p []byte, at int64) (int, error) {
	d.dirty += len(p)
	return copy(d.content[at:], p), nil
}

func (d *slowDisk) ReadAt(p []byte, at int64) (int, error) {
	transfer(len(p), d.read)
	return copy(p, d.content[at:]), nil
}

func (d *slowDisk) flush() error {
	transfer(d.dirty, d.write)
	d.dirty = 0
	return nil
}

func (d *slowDisk) uncache() error { return nil }

// The figures are those of the disk, however slow it is, and the measurement of a slow one ends
// within its limit, so that it does not look like a server that is silent.
func TestSlowStorageIsMeasured(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	for _, disk := range []slowDisk{{write: 0.12, read: 0.12}, {write: 1, read: 1}, {write: 2.4, read: 10}, {write: 1000, read: 1000}, {write: 1000, read: 0.5}} {
		synctest.Test(t, func(t *testing.T) {
			disk.content = make([]byte, size)
			start := time.Now()
			m, err := measure(&disk, size, func(string) {})
			if took := time.Since(start); err != nil || took > examineLimit-5*time.Second {
				t.Errorf("%g and %g MB/s: %v after %s, want an end long before %s", disk.write, disk.read, err, took, examineLimit)
			}
			if off := math.Abs(m.writeMBs/disk.write-1) + math.Abs(m.readMBs/disk.read-1); off > 0.01 || m.latency <= 0 {
				t.Errorf("%g and %g MB/s: got %+v", disk.write, disk.read, m)
			}
		})
	}
}
