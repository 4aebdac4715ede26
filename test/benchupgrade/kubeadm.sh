# What an administrator types to run Kubernetes with kubeadm on a Debian
# machine, and to upgrade it. $1 says which part.
export PATH=/opt/k8s/bin:$PATH LC_ALL=C
old=v1.36.3 new=v1.37.2

install_machine() {
    mkdir -p /opt/k8s /etc/containerd /etc/cni/net.d /var/lib/kubelet
    tar -x -C /opt/k8s --no-same-owner -f - # old/ new/ images.tar
    ln -sfn old/bin /opt/k8s/bin
    : > /etc/resolv.empty
    echo 1 > /proc/sys/net/ipv4/ip_forward
    cat > /etc/containerd/config.toml <<'TOML'
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'pai.local/pause:3.10.2'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/opt/k8s/old/cni']
    conf_dir = '/etc/cni/net.d'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '/opt/k8s/old/bin/runc'
      SystemdCgroup = false
TOML
    cat > /etc/cni/net.d/10-bridge.conflist <<'JSON'
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]]}}]}
JSON
    cat > /etc/systemd/system/containerd.service <<'UNIT'
[Service]
Type=notify
Environment=PATH=/opt/k8s/old/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/opt/k8s/old/bin/containerd --config /etc/containerd/config.toml
Delegate=yes
KillMode=process
OOMScoreAdjust=-999
LimitNOFILE=1048576
Restart=always
UNIT
    cat > /etc/systemd/system/kubelet.service <<'UNIT'
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/opt/k8s/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
KillMode=process
Restart=always
RestartSec=1
StartLimitInterval=0
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl start containerd
    ctr -n k8s.io images import --local /opt/k8s/images.tar >/dev/null
    rm /opt/k8s/images.tar
    systemctl enable -q kubelet
}

init_cluster() {
    cat > /opt/k8s/kubeadm.yaml <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $2}
nodeRegistration: {name: $(hostname), criSocket: "unix:///run/containerd/containerd.sock", taints: []}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $old
imageRepository: pai.local
networking: {podSubnet: 10.244.0.0/16}
proxy: {disabled: true}
dns: {disabled: true}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
resolvConf: /etc/resolv.empty
# As PAI's kubelets: on a host whose disk is nearly full, others would remove
# the images that are not in use yet, and evict what kubeadm tries beforehand.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
YAML
    kubeadm init --config /opt/k8s/kubeadm.yaml --ignore-preflight-errors=all --skip-phases=addon
    await_node $old
}

upgrade_cluster() {
    /opt/k8s/new/bin/kubeadm upgrade apply $new --yes --ignore-preflight-errors=all --skip-phases=addon
    ln -sfn new/bin /opt/k8s/bin
    systemctl restart kubelet
    await_node $new
}

await_node() {
    n=0
    until KUBECONFIG=/etc/kubernetes/admin.conf kubectl get node "$(hostname)" \
        -o 'jsonpath={.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null | grep -qx "$1 True"; do
        n=$((n + 1))
        [ $n -lt 600 ] || { echo "the node is not at $1 and ready" >&2; return 1; }
        sleep 0.5
    done
}

case $1 in
install) install_machine ;;
init) init_cluster "$@" ;;
upgrade) upgrade_cluster ;;
esac
