// Command rest-server is the REST server of PAI. It runs in the cluster whose
// jobs it serves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

const (
	apiRetryTimeout = 5 * time.Second
	// recordsEvery is how often the server looks for jobs whose retention has passed.
	recordsEvery = 10 * time.Minute
)

type options struct {
	listen          string
	certDir         string
	virtualClusters string
	containment     string
	storages        string
	release         string
	users           string
	metricsPassword string // a file
	drain           time.Duration
	endedJobsLimit  int
	endedJobsDays   int
	jobList         string
	history         historyOptions
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", ":9443", "address to listen on")
	flag.StringVar(&o.certDir, "cert-dir", "/etc/pai/tls", "directory of tls.crt and tls.key")
	flag.StringVar(&o.virtualClusters, "virtual-clusters", "default", "names of the virtual clusters, separated by commas")
	flag.StringVar(&o.containment, "containment", "{}", "JSON: by virtual cluster, the capabilities that its tasks have in addition, and the disk space of a task in MiB")
	flag.StringVar(&o.storages, "storages", "[]", "JSON: the storages that jobs can mount")
	flag.StringVar(&o.release, "release", "", "release of this server")
	flag.StringVar(&o.users, "users", string(rest.UsersByEntry), "form of the stored users: document (v0.9) or entries")
	flag.StringVar(&o.metricsPassword, "metrics-password", "", "file with the password of the metrics; without it, no one reads them")
	flag.DurationVar(&o.drain, "drain", 5*time.Second, "how long the server accepts requests after the signal to end")
	flag.IntVar(&o.endedJobsLimit, "ended-jobs-limit", 1000, "how many ended jobs of a virtual cluster stay in the cluster")
	flag.IntVar(&o.endedJobsDays, "ended-jobs-days", 30, "how long an ended job stays in the cluster, in days")
	flag.StringVar(&o.jobList, "job-list", "own", "whose jobs a user sees in the list of jobs: own or all")
	flag.StringVar(&o.history.database, "history", "none", "where jobs that left the cluster are kept: none, sqlite, or postgresql")
	flag.StringVar(&o.history.dir, "history-dir", "/var/lib/pai/history", "directory of the SQLite database")
	flag.StringVar(&o.history.connection, "history-connection", "/etc/pai/history/connection", "file with the connection string of PostgreSQL")
	flag.IntVar(&o.history.jobs, "history-limit", 200000, "how many jobs the history keeps")
	flag.IntVar(&o.history.days, "history-days", 3650, "how long the history keeps a job after its end, in days")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if done, err := runOutput(ctx, flag.Args(), os.Stdout); done {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(ctx, o, log); err != nil {
		fmt.Fprintln(os.Stderr, "rest-server:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, o options, log *slog.Logger) error {
	if flag.NArg() > 0 || o.virtualClusters == "" {
		return errors.New("--virtual-clusters needs at least one name, and there are no arguments")
	}
	if o.endedJobsLimit < 1 || o.endedJobsDays < 1 {
		return errors.New("--ended-jobs-limit and --ended-jobs-days must be at least 1")
	}
	if o.history.jobs < 1 || o.history.days < 1 {
		return errors.New("--history-limit and --history-days must be at least 1")
	}
	if o.jobList != "own" && o.jobList != "all" {
		return fmt.Errorf("--job-list must be own or all, not %q", o.jobList)
	}
	config, err := clientrest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return serveIn(ctx, config, o, log)
}

// serveIn is serve for a cluster that is reached with a configuration.
func serveIn(ctx context.Context, config *clientrest.Config, o options, log *slog.Logger) error {
	users, err := rest.ParseUsersForm(o.users)
	if err != nil {
		return fmt.Errorf("read --users: %w", err)
	}
	var containment map[string]job.Containment
	if err := json.Unmarshal([]byte(o.containment), &containment); err != nil {
		return fmt.Errorf("read --containment: %w", err)
	}
	var storages []pai.Storage
	if err := json.Unmarshal([]byte(o.storages), &storages); err != nil {
		return fmt.Errorf("read --storages: %w", err)
	}
	// Lists of the cluster have megabytes. Its API server runs on the same machines, and
	// would compress them for the same processors.
	config.DisableCompression = true
	config.Dial = kube.Redial((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
	cluster, err := kube.FromConfig(config)
	if err != nil {
		return err
	}
	// During an outage of the API server requests fail soon: the client decides
	// whether to retry.
	cluster = cluster.WithRetryTimeout(apiRetryTimeout)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	virtualClusters := strings.Split(o.virtualClusters, ",")
	policy := identity.Policy{ListOthersJobs: o.jobList == "all"}
	core := rest.NewCore(cluster, virtualClusters).WithContainment(containment).WithStorages(storages).WithPolicy(policy).WithOutput(rest.NewOutputPods(cluster))
	keeper, err := o.history.keeper(log)
	if err != nil {
		return err
	}
	handler := &rest.Handler{Jobs: core, Cluster: core, Storages: storages}
	if keeper != nil {
		// Requests have the history until the last one is answered.
		during, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		go keeper.Run(during, historyEvery)
		recorded := rest.NewRecorded(core, keeper)
		handler.Jobs, handler.Cluster, handler.History = recorded, recorded, recorded
		recorder := rest.NewRecorder(core, keeper, o.history.retention())
		handler.HistoryRecorded = recorder.Recorded
		go recorder.Run(ctx, jobsEvery, func(err error) { log.Warn("the history is delayed", "error", err, "details", pai.DetailsOf(err)) })
	}
	known := rest.NewUsers(cluster, users, func(err error) { log.Error("users are left out", "error", err) }).WithVirtualClusters(virtualClusters).WithStorages(storages)
	go core.ReconcileStops(ctx, 2*time.Second, func(err error) { log.Warn("stops are delayed", "error", err, "details", pai.DetailsOf(err)) })
	retention := rest.Retention{Jobs: o.endedJobsLimit, Age: time.Duration(o.endedJobsDays) * 24 * time.Hour}
	go core.ReconcileRecords(ctx, recordsEvery, retention, func(err error) { log.Warn("ended jobs stay longer", "error", err, "details", pai.DetailsOf(err)) })
	log.Info("listening", "address", o.listen, "release", o.release)
	handler.Users, handler.Release, handler.Log, handler.Policy = known, o.release, log, policy
	handler.Logins, handler.LinkKey = rest.NewLogins(known.Accounts(cluster)), known.LinkKey(cluster)
	handler.Operations, handler.MetricsPassword = core, readPassword(o.metricsPassword, log)
	server := rest.Server{Handler: handler, CertDir: o.certDir, Drain: o.drain, Log: log}
	return server.Run(ctx, listener)
}

// readPassword reads the password of the metrics. Without one, the server still runs:
// jobs do not depend on metrics.
func readPassword(file string, log *slog.Logger) string {
	if file == "" {
		return ""
	}
	data, err := os.ReadFile(file)
	if err != nil {
		log.Warn("no one can read the metrics", "error", err)
	}
	return strings.TrimSpace(string(data))
}
