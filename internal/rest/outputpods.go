package rest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/tasklog"
)

const (
	// outputName is the name of the DaemonSet whose pods see the output of all pods of
	// their machine, and of their container.
	outputName = "rest-server-output"
	// outputTimeout is how long the first answer of such a pod can take.
	outputTimeout = 15 * time.Second
	// maxOutputHeader bounds the first line, and what a failed command says.
	maxOutputHeader = 16 << 10
)

// OutputCommand is the command in a pod of a machine that writes the output of a task. An
// admission policy allows the server no other one.
func OutputCommand(request string) []string { return []string{"/rest-server", "output", request} }

// OutputPods reads the output of tasks with a command in the pod of the machine. The API
// server checks who may run it, so the pods need no port and no secret.
type OutputPods struct{ cluster *kube.Client }

// NewOutputPods returns a MachineOutput.
func NewOutputPods(cluster *kube.Client) *OutputPods { return &OutputPods{cluster} }

var _ MachineOutput = (*OutputPods)(nil)

// Read implements MachineOutput.
func (p *OutputPods) Read(ctx context.Context, machine string, r tasklog.Request) (io.ReadCloser, string, error) {
	pod, err := p.pod(ctx, machine)
	if err != nil {
		return nil, "", err
	}
	request, err := json.Marshal(r)
	if err != nil {
		return nil, "", fmt.Errorf("encode the request for output: %w", err)
	}
	url := p.cluster.Clientset().CoreV1().RESTClient().Get().Namespace(pai.SystemNamespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: outputName, Command: OutputCommand(string(request)), Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	command, err := remotecommand.NewWebSocketExecutor(p.cluster.RESTConfig(), http.MethodGet, url.String())
	if err != nil {
		return nil, "", fmt.Errorf("read the output on machine %s: %w", machine, err)
	}
	return begin(ctx, machine, func(ctx context.Context, out, errors io.Writer) error {
		return command.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: errors})
	})
}

// pod finds the pod of a machine.
func (p *OutputPods) pod(ctx context.Context, machine string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, outputTimeout)
	defer cancel()
	pods, err := p.cluster.Clientset().CoreV1().Pods(pai.SystemNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=" + outputName, FieldSelector: "spec.nodeName=" + machine})
	if err != nil {
		return "", apiError("find the pod that reads output on machine "+machine, err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return pod.Name, nil
		}
	}
	return "", pai.Errorf(pai.CodeNotFound, "run: paictl service status", "no pod of %s runs on machine %s", outputName, machine)
}

// begin runs a command and reads its header.
func begin(ctx context.Context, machine string, run func(ctx context.Context, out, errors io.Writer) error) (io.ReadCloser, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(outputTimeout, cancel)
	out, in := io.Pipe()
	go func() {
		said := &firstBytes{left: maxOutputHeader}
		err := run(ctx, in, said)
		if text := strings.TrimSpace(said.String()); err != nil && text != "" {
			err = errors.New(text)
		}
		in.CloseWithError(err)
	}()
	lines := bufio.NewReaderSize(out, maxOutputHeader)
	line, err := lines.ReadSlice('\n')
	var header tasklog.Header
	if err == nil {
		err = json.Unmarshal(line, &header)
	}
	if err == nil && !late.Stop() {
		err = context.Cause(ctx)
	}
	if err == nil && header.Gone {
		err = tasklog.ErrGone
	}
	if err != nil {
		cancel()
		out.Close()
		return nil, "", fmt.Errorf("read the output on machine %s: %w", machine, cmp.Or(outOfTime(err), err))
	}
	return commandOutput{lines, out, cancel}, header.Missing, nil
}

func outOfTime(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("no answer within %s", outputTimeout)
	}
	return nil
}

// commandOutput is the output of a command that runs.
type commandOutput struct {
	io.Reader
	pipe   *io.PipeReader
	cancel context.CancelFunc
}

func (c commandOutput) Close() error {
	c.cancel()
	return c.pipe.Close()
}

// firstBytes keeps the beginning of what is written.
type firstBytes struct {
	bytes.Buffer
	left int
}

func (f *firstBytes) Write(p []byte) (int, error) {
	n, err := f.Buffer.Write(p[:min(len(p), f.left)])
	f.left -= n
	return len(p), err
}
