package inspect

import (
	"slices"
	"testing"
	"time"
)

func TestNetworkMounts(t *testing.T) {
	t.Parallel()
	got := networkMountsIn(`22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:28 / /mnt/data\040set rw,relatime shared:9 - nfs4 nas:/export/data rw,hard
32 22 0:29 / /mnt/lustre rw - lustre mgs@tcp:/scratch rw
33 22 0:30 / /tmp rw - tmpfs nfs4 rw
34 22 0:31 / /mnt/torn rw - nfs
35 22 0:32 /
`)
	want := []NetworkMount{{Path: "/mnt/data set", Type: "nfs4", Source: "nas:/export/data"}, {Path: "/mnt/lustre", Type: "lustre", Source: "mgs@tcp:/scratch"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Mounts whose server responds too late are silent, and the report does not wait for them.
func TestSilentMounts(t *testing.T) {
	t.Parallel()
	mounts := []NetworkMount{{Path: "/a"}, {Path: "/b"}, {Path: "/c"}}
	hold := make(chan struct{})
	markSilent(mounts, 200*time.Millisecond, func(path string) {
		if path == "/b" {
			<-hold
		}
	})
	close(hold)
	if mounts[0].Silent || !mounts[1].Silent || mounts[2].Silent {
		t.Errorf("got %+v, want /b alone silent", mounts)
	}
	markSilent(nil, time.Hour, nil)
}
