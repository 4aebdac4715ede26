//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// oneRole is a job with one task role.
type oneRole struct {
	name, image string
	tasks       int
	cpu         float64
	memoryMB    int
	command     string
}

// submitRole submits a job with one task role; args are more arguments of the command.
func (o *operator) submitRole(job oneRole, args ...string) {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), job.name+".yaml")
	text := fmt.Sprintf(`protocolVersion: 2
name: %s
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: %q}
taskRoles:
  worker:
    instances: %d
    dockerImage: image
    resourcePerInstance: {cpu: %g, memoryMB: %d, gpu: 0}
    commands: [%q]
`, job.name, job.image, job.tasks, job.cpu, job.memoryMB, job.command)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.run(time.Minute, append([]string{"job", "submit", file}, args...)...)
}
