# A restart of the machine ended its tasks. That is no failure of theirs: with this condition,
# they are started again regardless of their retry limit. Before the first start of a kubelet
# since the boot, no pod has a process; after an upgrade under jobs, they have.
started=/run/pai/kubelet-started
if [ ! -e "$started" ] && [ -s %KUBECONFIG% ] &&
    ! find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | grep -q .; then
    timeout 60 sh -eu <<'MARK' || echo "tasks that the restart ended were not marked; they count as failed" >&2
ask() { %KUBECTL% --kubeconfig=%KUBECONFIG% --request-timeout=10s "$@"; }
until pods=$(ask get pods -A -l %LABEL% --field-selector=spec.nodeName=%NODE%,status.phase=Running \
    -o 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' </dev/null); do sleep 1; done
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
# A node may apply the status of its pods, and not read it, as kubectl patch does.
[ -z "$pods" ] || echo "$pods" | while read -r namespace name; do
    printf '{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"%s","name":"%s"},"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"MachineRestarted","message":"the machine restarted","lastTransitionTime":"%s"}]}}\n' "$namespace" "$name" "$now"
done | ask apply --server-side --subresource=status --field-manager=%MANAGER% -f -
MARK
fi
mkdir -p /run/pai
: >"$started"
