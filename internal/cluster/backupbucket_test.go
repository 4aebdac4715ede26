package cluster

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

// A machine learns how its bucket is reached. The file with the key is only named: PAI
// neither has it nor writes it.
func TestBackupsInABucketAreConfigured(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Kubernetes.Backup = &config.Backup{To: "s3://my-bucket/lab", Every: "6h", Keep: 3, Recipients: []string{"age1x"},
		S3: &config.BackupS3{Endpoint: "https://s3.example.com:9000", Region: "eu-central-1", CredentialsFile: "/etc/pai-backup/credentials", CAFile: "/etc/pai-backup/ca.pem"}}
	files, err := backupTimerFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := backup.ReadScheduled([]byte(files[layout.ScheduledBackupFile].content))
	if err != nil {
		t.Fatal(err)
	}
	want := backup.S3{Endpoint: "https://s3.example.com:9000", Region: "eu-central-1", CredentialsFile: "/etc/pai-backup/credentials", CAFile: "/etc/pai-backup/ca.pem"}
	if s.To != "s3://my-bucket/lab" || s.S3 == nil || *s.S3 != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if files["/etc/pai-backup/credentials"].content != "" || len(files) != 3 {
		t.Errorf("got %d files, want no file with a key", len(files))
	}
	cfg.Kubernetes.Backup.To, cfg.Kubernetes.Backup.S3 = "/mnt/backups", nil
	if files, err = backupTimerFiles(cfg); err != nil || strings.Contains(files[layout.ScheduledBackupFile].content, "s3") {
		t.Errorf("got %v, %v, want the settings of a directory as before", files, err)
	}
}
