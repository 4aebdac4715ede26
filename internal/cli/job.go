package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

func newJobCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Submit jobs, see them, stop them",
	}
	c := &jobClient{env: env}
	cmd.PersistentFlags().StringVar(&c.clusterID, "cluster-id", "", "id of the cluster (default: the only cluster known here)")
	cmd.AddCommand(newJobSubmitCommand(c), newJobListCommand(c), newJobShowCommand(c), newJobLogsCommand(c), newJobStopCommand(c))
	return cmd
}

// jobClient reaches the REST server as the user whose access is saved here.
type jobClient struct {
	env       *Env
	clusterID string
}

// open returns the service and the name of the user that it is used as.
func (c *jobClient) open() (rest.JobAPI, string, error) {
	path, err := c.accessFile()
	if err != nil {
		return nil, "", err
	}
	access, err := rest.LoadAccess(path)
	if err != nil {
		return nil, "", err
	}
	client, err := rest.NewClient(access)
	return client, access.User, err
}

func (c *jobClient) accessFile() (string, error) {
	if c.clusterID != "" {
		if c.clusterID != filepath.Base(c.clusterID) {
			return "", pai.Errorf(pai.CodeUsage, "", "%q is not a cluster's id", c.clusterID)
		}
		return filepath.Join(c.env.dirs().ClusterDir(c.clusterID), rest.AccessFile), nil
	}
	found, err := filepath.Glob(c.env.dirs().ClusterDir(filepath.Join("*", rest.AccessFile)))
	if err != nil {
		return "", fmt.Errorf("look for clusters: %w", err)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", pai.Errorf(pai.CodeUsage, "make PAI on this host with: paictl up\nor start the services of a cluster with: paictl service start -p DIR",
			"no cluster whose services were started is known here")
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, filepath.Base(filepath.Dir(f)))
	}
	return "", pai.Errorf(pai.CodeUsage, "name one with --cluster-id", "several clusters are known here: %s", strings.Join(ids, ", "))
}

// id reads NAME or USER~NAME; a bare name is the user's own job.
func (c *jobClient) id(arg, user string) (rest.JobID, error) {
	if !strings.Contains(arg, "~") {
		arg = user + "~" + arg
	}
	return rest.ParseJobID(arg)
}

// with opens the service and reads a job's name.
func (c *jobClient) with(arg string, do func(rest.JobAPI, rest.JobID) error) error {
	service, user, err := c.open()
	if err != nil {
		return err
	}
	id, err := c.id(arg, user)
	if err != nil {
		return err
	}
	return do(service, id)
}

func newJobSubmitCommand(c *jobClient) *cobra.Command {
	var vc string
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit the job in a file; - is standard input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return submitJob(cmd.Context(), c, args[0], vc)
		},
	}
	cmd.Flags().StringVar(&vc, "vc", "", "virtual cluster to run it in (default: the one that the job names)")
	return cmd
}

func submitJob(ctx context.Context, c *jobClient, file, vc string) error {
	text, err := readJob(c.env, file)
	if err != nil {
		return err
	}
	service, _, err := c.open()
	if err != nil {
		return err
	}
	done, err := service.Submit(ctx, rest.Submission{Protocol: text, VirtualCluster: vc})
	var problems job.Problems
	if errors.As(err, &problems) {
		return pai.Errorf(pai.CodeInvalid, "mend it and submit it again; nothing was created", "the job is not valid\n%s", inFile(file, problems))
	}
	if err != nil {
		return err
	}
	if len(done.Warnings) > 0 {
		c.env.Progressf("%s", inFile(file, done.Warnings))
	}
	return c.env.Show(done, func(p *ui.Page) {
		p.Linef("%s submitted to virtual cluster %s", done.ID, done.VirtualCluster)
	})
}

// inFile puts the file's name before each problem, as compilers do.
func inFile(file string, problems []job.Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		sep := ": "
		if p.Line > 0 {
			sep = ":"
		}
		lines[i] = "  " + file + sep + p.String()
	}
	return strings.Join(lines, "\n")
}

func readJob(env *Env, file string) ([]byte, error) {
	// One byte more than is accepted, so that the server can say so.
	if file == "-" {
		return io.ReadAll(io.LimitReader(env.In, job.MaxSize+1))
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pai.Errorf(pai.CodeUsage, "", "there is no file %s", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, job.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	return text, nil
}

func newJobListCommand(c *jobClient) *cobra.Command {
	var f rest.Filter
	var state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the jobs of all users",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			service, _, err := c.open()
			if err != nil {
				return err
			}
			f.State = job.State(strings.ToUpper(state))
			jobs, err := service.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			return c.env.Show(jobs, func(p *ui.Page) { writeJobs(p, jobs, time.Now()) })
		},
	}
	cmd.Flags().StringVar(&f.User, "user", "", "only this user's")
	cmd.Flags().StringVar(&f.VirtualCluster, "vc", "", "only those in this virtual cluster")
	cmd.Flags().StringVar(&state, "state", "", "only those in this state, such as running")
	return cmd
}

func writeJobs(p *ui.Page, jobs []job.Status, now time.Time) {
	if len(jobs) == 0 {
		p.Linef("No jobs.")
		return
	}
	p.Row("JOB", "STATE", "TASKS RUNNING", "VIRTUAL CLUSTER", "RETRIES", "AGE")
	for _, j := range jobs {
		p.Row(j.JobRef, j.State, fmt.Sprintf("%d of %d", j.Count(job.StateRunning), j.Tasks()), j.VirtualCluster, j.Retries, ui.Age(now.Sub(j.Created)))
	}
}

func newJobShowCommand(c *jobClient) *cobra.Command {
	return &cobra.Command{
		Use:   "show [USER~]NAME",
		Short: "Show a job and its tasks",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(args[0], func(service rest.JobAPI, id rest.JobID) error {
				status, err := service.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				return c.env.Show(status, func(p *ui.Page) { writeJob(p, status) })
			})
		},
	}
}

func writeJob(p *ui.Page, s job.Status) {
	state := string(s.State)
	if s.Message != "" {
		state += " (" + s.Message + ")"
	}
	p.Linef("%s: %s", s.JobRef, state)
	p.Row("  virtual cluster", s.VirtualCluster)
	p.Row("  submitted", ui.Time(s.Created))
	p.Row("  started", ui.Time(s.Started))
	p.Row("  ended", ui.Time(s.Ended))
	p.Row("  retries", s.Retries)
	p.Row("  objects", s.Namespace+"/"+s.Object)
	p.Linef("")
	p.Row("TASK", "STATE", "MACHINE", "STARTED", "RETRIES", "MESSAGE")
	for _, role := range s.TaskRoles {
		for _, task := range role.Tasks {
			p.Row(fmt.Sprintf("%s %d", role.Name, task.Index), task.State, task.Machine, ui.Time(task.Started), task.Retries, task.Message)
		}
	}
}

func newJobLogsCommand(c *jobClient) *cobra.Command {
	var o rest.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [USER~]NAME",
		Short: "Show what a task of a job printed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(args[0], func(service rest.JobAPI, id rest.JobID) error {
				stream, err := service.Logs(cmd.Context(), id, o)
				if err != nil {
					return err
				}
				defer stream.Close()
				return writeLogs(c.env, stream)
			})
		},
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "go on until the task has ended")
	cmd.Flags().StringVar(&o.TaskRole, "task-role", "", "task role (default: the job's first)")
	cmd.Flags().IntVar(&o.Index, "index", 0, "index of the task in its role")
	cmd.Flags().Int64Var(&o.Tail, "tail", 0, "only the last lines, so many")
	cmd.Flags().BoolVar(&o.Timestamps, "timestamps", false, "put the time before each line")
	return cmd
}

func writeLogs(env *Env, stream io.Reader) error {
	if !env.JSON() {
		_, err := io.Copy(env.Out, stream)
		return err
	}
	text, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	return env.Show(map[string]string{"log": string(text)}, nil)
}

func newJobStopCommand(c *jobClient) *cobra.Command {
	return &cobra.Command{
		Use:   "stop [USER~]NAME",
		Short: "Stop a job; its record stays",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(args[0], func(service rest.JobAPI, id rest.JobID) error {
				if err := service.Stop(cmd.Context(), id); err != nil {
					return err
				}
				status, err := service.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				return c.env.Show(status, func(p *ui.Page) {
					p.Linef("%s is %s; its tasks have %d seconds to end", id, status.State, job.GracePeriod)
				})
			})
		},
	}
}
