package storageprobe

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// slowDisk is a disk behind a memory that takes everything at once.
type slowDisk struct {
	rate    float64 // of the disk, in 1,000,000 bytes per second
	content []byte
	dirty   int // bytes that are not on the disk yet
}

func (d *slowDisk) transfer(n int) { time.Sleep(time.Duration(float64(n) / d.rate * 1e3)) }

func (d *slowDisk) WriteAt(p []byte, at int64) (int, error) {
	d.dirty += len(p)
	return copy(d.content[at:], p), nil
}

func (d *slowDisk) ReadAt(p []byte, at int64) (int, error) {
	d.transfer(len(p))
	return copy(p, d.content[at:]), nil
}

func (d *slowDisk) flush() error {
	d.transfer(d.dirty)
	d.dirty = 0
	return nil
}

func (d *slowDisk) uncache() error { return nil }

// The figures are those of the disk, however slow it is, and the measurement of a slow one ends
// within its limit, so that it does not look like a server that is silent.
func TestSlowStorageIsMeasured(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	for _, rate := range []float64{0.12, 0.5, 1, 2.4, 10, 1000} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			m, err := measure(&slowDisk{rate: rate, content: make([]byte, size)}, size, func(string) {})
			if took := time.Since(start); err != nil || took > examineLimit-5*time.Second {
				t.Errorf("%g MB/s: %v after %s, want an end long before %s", rate, err, took, examineLimit)
			}
			if off := math.Abs(m.writeMBs/rate-1) + math.Abs(m.readMBs/rate-1); off > 0.01 || m.latency <= 0 {
				t.Errorf("%g MB/s: got %+v", rate, m)
			}
		})
	}
}
