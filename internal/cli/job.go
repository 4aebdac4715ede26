package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

func newJobCommand(env *Env) *cobra.Command {
	c := &jobClient{env: env}
	cmd := group("job", "Submit, list, show, and stop jobs",
		newJobSubmitCommand(c), newJobListCommand(c), newJobShowCommand(c), newJobLogsCommand(c), newJobStopCommand(c))
	c.addFlags(cmd)
	return cmd
}

func (c *jobClient) addFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.clusterID, "cluster-id", "", "cluster ID (default: the only known cluster)")
}

// jobClient connects to the REST server with the saved access of a user.
type jobClient struct {
	env       *Env
	clusterID string
}

// open returns the API and the name of the user.
func (c *jobClient) open() (rest.JobAPI, string, error) {
	client, user, err := c.client()
	return client, user, err
}

func (c *jobClient) client() (*rest.Client, string, error) {
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
	id := c.clusterID
	if id != filepath.Base(id) && id != "" {
		return "", pai.Errorf(pai.CodeUsage, "", "%q is not a cluster ID", id)
	}
	if id == "" {
		var err error
		id, err = c.env.onlyCluster(rest.AccessFile, pai.Errorf(pai.CodeUsage,
			"create PAI on this host, run: paictl up\nor start the services of a cluster, run: paictl service start -p DIR",
			"no cluster with started services is known on this host"))
		if err != nil {
			return "", err
		}
	}
	return filepath.Join(c.env.dirs().ClusterDir(id), rest.AccessFile), nil
}

// id parses NAME or USER~NAME; NAME alone is a job of the user.
func (c *jobClient) id(arg, user string) (rest.JobID, error) {
	if !strings.Contains(arg, "~") {
		arg = user + "~" + arg
	}
	return rest.ParseJobID(arg)
}

// command is a command for one job.
func (c *jobClient) command(verb, short string, do func(context.Context, rest.JobAPI, rest.JobID) error) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " [USER~]NAME",
		Short:             short,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: jobNames(c).first,
		RunE: func(cmd *cobra.Command, args []string) error {
			api, user, err := c.open()
			if err != nil {
				return err
			}
			id, err := c.id(args[0], user)
			if err != nil {
				return err
			}
			return do(cmd.Context(), api, id)
		},
	}
}

func newJobSubmitCommand(c *jobClient) *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job from a file",
		Long: `Submit a job from a file; - is standard input.

With --dry-run, the REST server checks the file as it checks a submission and
prints what the job would be. It creates nothing. The exit code is that of the
submission.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			return submitJob(cmd.Context(), c, o)
		},
	}
	cmd.Flags().StringVar(&o.vc, "vc", "", "virtual cluster to run the job in (default: the one that the job names)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "check the job and print what it would be, but create nothing")
	return cmd
}

type submitOptions struct {
	file, vc string
	dryRun   bool
}

func submitJob(ctx context.Context, c *jobClient, o submitOptions) error {
	text, err := readJob(c.env, o.file)
	if err != nil {
		return err
	}
	service, _, err := c.open()
	if err != nil {
		return err
	}
	submission := rest.Submission{Protocol: text, VirtualCluster: o.vc}
	if o.dryRun {
		would, err := service.Preview(ctx, submission)
		if err != nil {
			return notValid(o.file, err)
		}
		c.warn(o.file, would.Warnings)
		return c.env.Show(would, func(p *ui.Page) { writePreview(p, would) })
	}
	done, err := service.Submit(ctx, submission)
	if err != nil {
		return notValid(o.file, err)
	}
	c.warn(o.file, done.Warnings)
	return c.env.Show(done, func(p *ui.Page) {
		p.Linef("%s submitted to virtual cluster %s", done.ID, done.VirtualCluster)
	})
}

// notValid prints the problems of a job with the name of its file.
func notValid(file string, err error) error {
	var problems job.Problems
	if errors.As(err, &problems) {
		return pai.Errorf(pai.CodeInvalid, "fix the problems and submit the job again; nothing was created", "the job is not valid\n%s", inFile(file, problems))
	}
	return err
}

func (c *jobClient) warn(file string, warnings []job.Problem) {
	if len(warnings) > 0 {
		c.env.Progressf("%s", inFile(file, warnings))
	}
}

func writePreview(p *ui.Page, w rest.Previewed) {
	p.Linef("%s would be submitted to virtual cluster %s; nothing was created", w.ID, w.VirtualCluster)
	p.Row("  tasks", w.Tasks)
	p.Row("  in all", resources(w.Total))
	p.Row("  retries of the job", w.RetryCount)
	if w.Secret {
		p.Row("  secrets", "in a Secret that is deleted with the job")
	}
	p.Linef("")
	p.Row("TASK ROLE", "TASKS", "EACH", "RETRIES", "JOB SUCCEEDS AFTER", "JOB FAILS AFTER", "COMMANDS", "IMAGE")
	for _, r := range w.TaskRoles {
		p.Row(r.Name, r.Instances, resources(r.Each), r.RetryCount, decides(r.MinSucceeded, "succeeded"), decides(r.MinFailed, "failed"), r.Commands, r.Image)
	}
	p.Linef("")
	p.Row("TASK ROLE", "PORT", "NUMBERS")
	for _, r := range w.TaskRoles {
		for _, name := range slices.Sorted(maps.Keys(r.Ports)) {
			p.Row(r.Name, name, r.Ports[name])
		}
	}
	if len(w.Effects) > 0 {
		p.Linef("")
		p.Row("PART", "EFFECT")
	}
	for _, e := range w.Effects {
		p.Row(e.Path, e.Effect)
	}
}

func resources(r job.Resources) string {
	return fmt.Sprintf("%g cores, %d MiB, %d GPUs", r.CPU, r.MemoryMB, r.GPU)
}

func decides(tasks int, what string) string {
	if tasks == job.NeverDecides {
		return "-"
	}
	return fmt.Sprintf("%d %s", tasks, what)
}

// inFile prints each problem with the name of its file, as compilers do.
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
	in := env.In
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, pai.Errorf(pai.CodeUsage, "", "file %s not found", file)
		}
		if err != nil {
			return nil, fmt.Errorf("read the job: %w", err)
		}
		defer f.Close()
		in = f
	}
	// One byte more than the limit, so that the server reports an oversized job.
	text, err := io.ReadAll(io.LimitReader(in, job.MaxSize+1))
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
		Short: "List jobs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" {
				var err error
				if f.State, err = job.ParseState(state); err != nil {
					return usageError(cmd, err)
				}
			}
			service, _, err := c.open()
			if err != nil {
				return err
			}
			f.Incomplete = func(why string) { c.env.Progressf("the list is not complete: %s", why) }
			jobs, err := service.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			return c.env.Show(jobs, func(p *ui.Page) { writeJobs(p, jobs, time.Now()) })
		},
	}
	cmd.Flags().StringVar(&f.User, "user", "", "only jobs of this user")
	cmd.Flags().StringVar(&f.VirtualCluster, "vc", "", "only jobs in this virtual cluster")
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this state, such as running")
	return cmd
}

func writeJobs(p *ui.Page, jobs []job.Status, now time.Time) {
	if len(jobs) == 0 {
		p.Linef("No jobs.")
		return
	}
	p.Row("JOB", "STATE", "TASKS RUNNING", "VIRTUAL CLUSTER", "RETRIES", "AGE")
	for _, j := range jobs {
		running, retries := fmt.Sprintf("%d of %d", j.Count(job.StateRunning), j.Tasks()), strconv.Itoa(j.Retries)
		if j.Tasks() == 0 {
			running, retries = "-", "-" // the job of another user: a list does not say
		}
		p.Row(j.JobRef, j.State, running, j.VirtualCluster, retries, ui.Age(now.Sub(j.Created)))
	}
}

func newJobShowCommand(c *jobClient) *cobra.Command {
	return c.command("show", "Show a job and its tasks", func(ctx context.Context, api rest.JobAPI, id rest.JobID) error {
		status, err := api.Get(ctx, id)
		if err != nil {
			return err
		}
		shown := shownJob{Status: status}
		// A REST server of v0.10 does not know operations.
		if shown.Operations, err = api.Operations(ctx, id); err != nil && pai.CodeOf(err) != pai.CodeNotFound {
			c.env.Progressf("the operations during this job are unknown: %v", err)
		}
		return c.env.Show(shown, func(p *ui.Page) {
			writeJob(p, status)
			ui.JobOperations(p, shown.Operations)
		})
	})
}

// shownJob is what `job show -o json` prints.
type shownJob struct {
	job.Status
	// Operations are the operations on the cluster during which the job ran.
	Operations []rest.JobOperation `json:"operations,omitempty"`
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

func newJobStopCommand(c *jobClient) *cobra.Command {
	return c.command("stop", "Stop a job, but keep its record", func(ctx context.Context, api rest.JobAPI, id rest.JobID) error {
		if err := api.Stop(ctx, id); err != nil {
			return err
		}
		status, err := api.Get(ctx, id)
		if err != nil {
			return err
		}
		return c.env.Show(status, func(p *ui.Page) {
			p.Linef("%s is %s; its tasks have %d seconds to end", id, status.State, job.GracePeriod)
		})
	})
}
