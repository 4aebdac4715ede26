#!/usr/bin/env bash
# PAI from nothing to an upgrade under running jobs, with the commands that an
# operator would type. Each is shown before it runs. Interrupted anywhere and
# run again, it continues.
set -euo pipefail
cd "$(dirname "$0")/.."
set -a; . hack/go.env; set +a

old=v0.10 new=v0.11
job=train flaky=flaky
total=8 step=0

say()  { printf '%s\n' "$*" >&2; }
head_line() {
  step=$((step + 1))
  printf '\n[%d/%d] %02d:%02d  %s\n' "$step" "$total" $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2
}
show() {
  say "\$ $*"
  "$@"
}

# The release that the configuration of this host's PAI names; nothing when
# there is no PAI here.
configured_release() {
  { bin/paictl config check --cluster-id local -o json 2>/dev/null || true; } |
    sed -n 's/^ *"release": "\(.*\)",\{0,1\}$/\1/p'
}
nothing_left_to_upgrade() {
  bin/paictl upgrade plan --to "$new" -o json 2>/dev/null | grep -q '"steps": \(\[\]\|null\)'
}
# The state of a job; nothing if there is no such job.
job_state() {
  { bin/paictl job show "${1:-$job}" -o json 2>/dev/null || true; } | sed -n 's/^  "state": "\(.*\)",\{0,1\}$/\1/p'
}

background=
stop_background() {
  if [[ -n $background ]]; then
    kill "$background" 2>/dev/null || true
    wait "$background" 2>/dev/null || true
  fi
}
trap stop_background EXIT

head_line "Debian packages and paictl"
hack/deps.sh
show hack/build.sh

release=$(configured_release)
resume=no
if [[ $release == "$new" ]]; then
  if [[ -n $(job_state) ]] && ! nothing_left_to_upgrade; then
    say "An upgrade to $new was interrupted on this host: resuming it."
    resume=yes
  else
    say "PAI $new runs on this host; the demo starts at $old, so PAI is deleted first."
    show bin/paictl down --yes
  fi
elif [[ $release == "$old" && $(job_state) =~ ^(STOPP|SUCCEEDED|FAILED) ]]; then
  say "The job of an earlier run has ended: deleting PAI to start again."
  show bin/paictl down --yes
elif [[ -n $release && $release != "$old" ]]; then
  say "PAI $release runs on this host, and this demo upgrades $old to $new. Delete it first; run: bin/paictl down"
  exit 1
fi

head_line "The bundle of $old: every program and image of the release, built from Go modules and signed"
show bin/paictl release build "$old"
# An operator's cluster was booted by the paictl of its time.
old_paictl=$(bin/paictl release build "$old" -o json | sed -n 's/^ *"paictl": "\(.*\)",\{0,1\}$/\1/p')
if [[ ! -x $old_paictl ]]; then
  say "The build of $old names no paictl. See what it prints; run: bin/paictl release build $old -o json"
  exit 1
fi

head_line "A machine, Kubernetes and the services of $old, booted by the paictl of $old; meanwhile the bundle of $new is built"
log=$(mktemp -t pai-demo-bundle-XXXXXX)
say "\$ bin/paictl release build $new &"
bin/paictl release build "$new" >"$log" 2>&1 &
background=$!
# With the job, an earlier run ended after this part, and perhaps in the upgrade.
if [[ $resume == no && -z $(job_state) ]]; then
  show "$old_paictl" up --release "$old" --yes
fi

head_line "A training job, and a job whose task keeps failing by itself"
submit() { # a job of an earlier run stays
  case $(job_state "$1") in
    "") show bin/paictl job submit "${2:-examples/$1.yaml}" ;;
    *) say "The job $1 exists from an earlier run." ;;
  esac
}
wait_for() { # a state of a job
  local deadline=$((SECONDS + 180))
  until [[ $(job_state "$1") == "$2" ]]; do
    if ((SECONDS > deadline)); then
      say "The job $1 is not $2 after 3 minutes. Its state:"
      bin/paictl job show "$1" >&2
      exit 1
    fi
    sleep 1
  done
}
submit "$job"
submit "$flaky"
wait_for "$job" RUNNING
show bin/paictl job list

head_line "Waiting for the bundle of $new; its build so far:"
tail -n 3 -F --pid="$background" "$log" >&2 2>/dev/null || true
if ! wait "$background"; then
  background=
  cat "$log" >&2
  say "building the bundle of $new failed (above)"
  exit 1
fi
background=
rm -f "$log"

head_line "The upgrade: Kubernetes, the container runtime and the services, with the jobs running"
show bin/paictl upgrade apply --to "$new" --yes

head_line "What the witness saw, and what is there now"
show bin/paictl upgrade history
show bin/paictl cluster status
show bin/paictl job list

head_line "A storage: a data set, a training that keeps checkpoints there, and one that continues after its end"
state=${PAI_STATE_DIR:-$HOME/.local/state/pai}/clusters/local
# A cluster that paictl up of this release made has this storage from the start.
services=$state/config/services-configuration.yaml
if ! grep -q '^storages:' "$services"; then
  say "Adding the storage default to $services"
  cat >>"$services" <<END

storages:
  default: {type: directory, path: /srv/pai/default, per-user: true, default: true, groups: [default]}
END
fi
show bin/paictl up --yes
show bin/paictl storage list
show bin/paictl storage check
submit data
wait_for data SUCCEEDED
submit learn
wait_for learn SUCCEEDED
more=$state/learn-more.yaml
sed 's/name: learn$/name: learn-more/; s/steps: 300/steps: 600/' examples/learn.yaml >"$more"
submit learn-more "$more"
wait_for learn-more SUCCEEDED
rm -f "$more"
show bin/paictl job logs learn
show bin/paictl job logs learn-more

# The portal is new in this release, and its users need a password. It is kept where only
# the operator can read it.
portal=$(bin/paictl service status portal -o json | sed -n 's/.*"\(https:[^"]*\)".*/\1/p' | head -n 1)
password=$state/demo-password
if [[ ! -s $password ]]; then
  (umask 077 && head -c 18 /dev/urandom | base64 >"$password")
fi
bin/paictl user update admin --password <"$password" >&2

cat >&2 <<END

PAI $new runs on this host. The job $job kept running, and $flaky kept failing by itself. Next:
  bin/paictl job logs $job                 what the job printed, without a gap across the upgrade
  bin/paictl upgrade history -o json       the whole report
  bin/paictl release list                  the support plan
  bin/paictl release show $new             what is in the bundle
  bin/paictl cluster status                machines, Kubernetes, services, jobs
  bin/paictl machine shell pai-1           a shell on the machine
  bin/paictl down                          delete everything but the build cache
The portal: ${portal:-run bin/paictl service status portal}
  sign in as admin with the password in $password; the certificate is of PAI's authority
Done in $((SECONDS / 60)) min $((SECONDS % 60)) s.
END
