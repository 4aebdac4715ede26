//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestTasksMeet runs the examples whose tasks find each other as torchrun, DeepSpeed, MPI,
// and Ray do, on two machines: they add up numbers over TCP. A job with a secret prints it,
// and nothing else shows it; with the job, its Secret ends.
func TestTasksMeet(t *testing.T) {
	inTestAll(t, "three minutes on another cluster")
	o := newOperator(t, "meet")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--machines", "2", "--yes")
	o.loadAllReduce()
	for _, name := range []string{"torchrun", "deepspeed", "mpi", "ray"} {
		o.part(name, func(o *operator) {
			dry := o.run(time.Minute, "job", "submit", "--dry-run", "examples/"+name+".yaml")
			if !strings.Contains(dry, "nothing was created") || strings.Contains(o.run(time.Minute, "job", "list"), name) {
				o.t.Errorf("the dry run says\n%s", dry)
			}
			o.run(time.Minute, "job", "submit", "examples/"+name+".yaml")
			o.hasState(name, "SUCCEEDED")
			if logs := o.run(time.Minute, "job", "logs", name); !strings.Contains(logs, "rank 0 of 2: 10 sums of 65536 numbers are right") {
				o.t.Errorf("got %s", logs)
			}
		})
	}
	o.part("a job across two machines", func(o *operator) {
		o.run(time.Minute, "job", "submit", o.spread("examples/torchrun.yaml"))
		o.hasState("apart", "SUCCEEDED")
		if logs := o.run(time.Minute, "job", "logs", "apart", "--index", "1"); !strings.Contains(logs, "rank 1 of 2: 10 sums of 65536 numbers are right") {
			o.t.Errorf("got %s", logs)
		}
		if show := o.run(time.Minute, "job", "show", "apart"); !strings.Contains(show, "pai-1") || !strings.Contains(show, "pai-2") {
			o.t.Errorf("the tasks were not on two machines:\n%s", show)
		}
	})
	o.part("a secret", (*operator).keepsSecret)
}

// loadAllReduce loads the example image with the program allreduce as team/allreduce:v1.
func (o *operator) loadAllReduce() {
	o.t.Helper()
	program := filepath.Join(o.t.TempDir(), "allreduce")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./examples/allreduce")
	build.Dir = repository()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		o.t.Fatalf("build allreduce: %v\n%s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		o.t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "bin/allreduce", Mode: 0o755, Size: int64(len(data))}); err != nil {
		o.t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		o.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		o.t.Fatal(err)
	}
	o.loadVariant("team/allreduce:v1", func(image v1.Image) (v1.Image, error) {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
		if err != nil {
			return nil, err
		}
		return mutate.AppendLayers(image, layer)
	})
}

// spread writes a job whose tasks need more than half of what pods of a machine can have.
func (o *operator) spread(file string) string {
	o.t.Helper()
	milli := 0
	if _, err := fmt.Sscanf(strings.TrimSuffix(o.kubectl("get node pai-2 -o jsonpath='{.status.allocatable.cpu}'"), "m"), "%d", &milli); err != nil {
		o.t.Fatal(err)
	}
	if milli < 100 {
		milli *= 1000 // whole cores
	}
	text, err := os.ReadFile(filepath.Join(repository(), file))
	if err != nil {
		o.t.Fatal(err)
	}
	job := strings.NewReplacer("name: torchrun", "name: apart", "cpu: 0.1", fmt.Sprintf("cpu: %.3f", float64(milli)/1000*0.55)).Replace(string(text))
	out := filepath.Join(o.t.TempDir(), "apart.yaml")
	if err := os.WriteFile(out, []byte(job), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return out
}

// keepsSecret runs a job with a secret.
func (o *operator) keepsSecret() {
	const secret = "s3cr3t-of-a-job"
	file := filepath.Join(o.t.TempDir(), "secret.yaml")
	text := `protocolVersion: 2
name: secretive
type: job
prerequisites:
  - {name: example, type: dockerimage, uri: "pai.local/example:v1", auth: {username: robot, password: <% $secrets.password %>}}
secrets: {password: ` + secret + `}
taskRoles:
  worker:
    dockerImage: example
    resourcePerInstance: {cpu: 0.1, memoryMB: 64, gpu: 0}
    commands: ["echo <% $secrets.password %> | wc -c"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	shown := o.run(time.Minute, "job", "submit", "--dry-run", file) + o.run(time.Minute, "job", "submit", file)
	o.hasState("secretive", "SUCCEEDED")
	shown += o.run(time.Minute, "job", "show", "secretive", "-o", "json") + o.kubectl("get jobsets,jobs,pods,configmaps,workloads,events -n pai-vc-default -o json")
	shown += o.kubectl("logs -n pai-system deployment/rest-server --all-containers --tail=-1")
	if strings.Contains(shown, secret) {
		o.t.Error("the secret is shown")
	}
	if logs := o.run(time.Minute, "job", "logs", "secretive"); strings.TrimSpace(logs) != "16" {
		o.t.Errorf("the task read %q, want a secret of 15 characters", logs)
	}
	const named = "get secrets -n pai-vc-default -l pai.dev/job -o name"
	if got := strings.Fields(o.kubectl(named)); len(got) != 1 {
		o.t.Errorf("got the Secrets %v, want one", got)
	}
	o.kubectl("delete jobsets -n pai-vc-default -l pai.dev/user=admin --wait=false")
	o.eventually(2*time.Minute, "the Secret is deleted with its job", func() (bool, string) {
		out, err := o.tryKubectl(named)
		return err == nil && strings.TrimSpace(out) == "", out
	})
}
