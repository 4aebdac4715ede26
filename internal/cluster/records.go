package cluster

import (
	"context"
	"io/fs"
)

// Records are the files on the control-plane machines that say what the cluster runs and
// which machines are in maintenance. They outlive an outage of the API and a restore of etcd.
// machine.Host has those of one machine. ReadFile fails with fs.ErrNotExist if there is no
// such file.
type Records interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
}

func (c *cluster) records() (Records, error) {
	if c.Records != nil {
		return c.Records, nil
	}
	h, _, err := c.controlPlane()
	return h, err
}
