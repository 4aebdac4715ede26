package source

import (
	"fmt"
	"path"
	"strings"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// backedUpState are the records of PAI in layout.StateDir, as far as they exist.
var backedUpState = []string{"operations", "revisions", "applied", "witness", path.Base(layout.ClusterRecordFile), path.Base(layout.MaintenanceFile)}

// JobPrefixes are the prefixes of the keys of all jobs in etcd.
func JobPrefixes() []string {
	var prefixes []string
	for _, dir := range []string{"jobset.x-k8s.io/jobsets", "kueue.x-k8s.io/workloads", "jobs", "pods", "configmaps"} {
		prefixes = append(prefixes, "/registry/"+dir+"/"+pai.VirtualClusterNamespacePrefix)
	}
	return prefixes
}

// Script prints what the facts of a backup are read from, one line each, and
// then a tar of its files. The snapshot is served by a scratch etcd before, which
// answers these questions. Everything is in the scratch directory of this script,
// which its owner alone can read, and is removed with it.
func Script(v pai.KubernetesVersion, from layout.Slot) string {
	var b strings.Builder
	fmt.Fprintf(&b, `%[1]s
%[7]s
said=$(%[2]s --cacert %[3]s/etcd/ca.crt --cert %[3]s/etcd/healthcheck-client.crt --key %[3]s/etcd/healthcheck-client.key \
    --endpoints https://127.0.0.1:%[4]d snapshot save snapshot.db 2>&1) || fail
status=$(%[5]s snapshot status snapshot.db -w json)
said=$(%[5]s snapshot restore snapshot.db --data-dir data 2>&1) || fail
%[6]s
printf '%%s\n' "$status"
$ask get /registry/secrets/ --prefix --limit=1 -w json
`, MakeScratch, layout.Program(v, "etcdctl"), layout.PKIDir, from.EtcdClientPort, layout.Program(v, "etcdutl"), ServeScratch(v), EnoughSpace(from.EtcdDatabase(), "."))
	for _, prefix := range JobPrefixes() {
		fmt.Fprintf(&b, "$ask get %s --prefix -w json\n", prefix)
	}
	fmt.Fprintf(&b, `mkdir -p out/etcd out/pki/etcd out/state
mv snapshot.db out/etcd/snapshot.db
cp %s out/encryption.yaml
for f in %s; do cp "%s/$f" "out/pki/$f"; done
for f in %s; do [ ! -e "%[5]s/$f" ] || cp -R "%[5]s/$f" out/state/; done
tar -C out -cf - etcd encryption.yaml pki state
`, layout.EncryptionFile, strings.Join(backup.Authorities(), " "), layout.PKIDir, strings.Join(backedUpState, " "), layout.StateDir)
	return b.String()
}
