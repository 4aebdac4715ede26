# The addresses and ports of all tasks of this job, under the names of job protocol v2.
# Runs in sh, dash, busybox, and bash.

pai_begin() {
	pai_domain= pai_resolver=
	while read -r pai_key pai_value _; do
		if [ "$pai_key" = search ] && [ -z "$pai_domain" ]; then pai_domain=.$pai_value; fi
	done 2>/dev/null </etc/resolv.conf
	for pai_tool in getent nslookup; do
		if [ -z "$pai_resolver" ] && command -v "$pai_tool" >/dev/null 2>&1; then pai_resolver=$pai_tool; fi
	done
	# A task that runs again might look for tasks that have ended.
	if [ "${PAI_TASK_FAILURES:-0}${PAI_TASK_DISRUPTIONS:-0}" != 00 ] && [ "$pai_left" -gt 10 ]; then pai_left=10; fi
	if [ "$pai_left" -gt 0 ] && [ -z "$pai_resolver" ]; then
		echo "PAI: the image has neither getent nor nslookup: the addresses of tasks are their names" >&2
		pai_left=0
	fi
	pai_meets=$pai_left pai_said= pai_instances= pai_total=0 pai_roles=0
	export PAI_WORK_DIR="$PWD"
}

# pai_lookup NAME prints its address, or nothing.
pai_lookup() {
	if [ "$pai_resolver" = getent ]; then
		getent hosts "$1" 2>/dev/null | { read -r pai_value _ && echo "$pai_value"; }
		return 0
	fi
	nslookup "$1" 2>/dev/null | {
		pai_named=
		while read -r pai_key pai_value pai_more _; do
			case $pai_key,$pai_value in
			Name:,*) pai_named=yes ;;
			Address,[0-9]*:) if [ -n "$pai_named" ]; then echo "$pai_more"; break; fi ;;
			Address*,*) if [ -n "$pai_named" ]; then echo "$pai_value"; break; fi ;;
			esac
		done
	}
	return 0
}

# pai_find NAME INDEX sets pai_ip to the address of a task, and to its name if it has none.
pai_find() {
	pai_ip=$1
	if [ "$pai_meets" = 0 ]; then return 0; fi
	if [ -z "$pai_all" ] && [ "$2" != 0 ]; then return 0; fi
	while :; do
		pai_value=$(pai_lookup "$1$pai_domain")
		if [ -n "$pai_value" ]; then pai_ip=$pai_value; return 0; fi
		if [ "$pai_left" -le 0 ]; then
			echo "PAI: $1 has no address yet; its name is used" >&2
			return 0
		fi
		if [ -z "$pai_said" ]; then echo "PAI: waiting until all tasks have addresses" >&2; pai_said=yes; fi
		sleep 1
		pai_left=$((pai_left - 1))
	done
}

# pai_role ROLE HOST INSTANCES PORT=NUMBERS... exports what is known of the tasks of a role.
pai_role() {
	pai_name=$1 pai_host=$2 pai_count=$3
	shift 3
	pai_http= pai_hosts= pai_i=0
	for pai_port; do
		case $pai_port in http=*) pai_http=${pai_port#*=} pai_http=${pai_http%%,*} ;; esac
	done
	while [ "$pai_i" -lt "$pai_count" ]; do
		if [ "$pai_name $pai_i" = "$PAI_CURRENT_TASK_ROLE_NAME $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX" ]; then
			pai_ip=${PAI_CONTAINER_HOST_IP:-$pai_host-$pai_i.$pai_subdomain}
			pai_own "$@"
		else
			pai_find "$pai_host-$pai_i.$pai_subdomain" "$pai_i"
		fi
		export "PAI_HOST_IP_${pai_name}_$pai_i=$pai_ip"
		for pai_port; do
			export "PAI_PORT_LIST_${pai_name}_${pai_i}_${pai_port%%=*}=${pai_port#*=}" "PAI_${pai_name}_${pai_i}_${pai_port%%=*}_PORT=${pai_port#*=}"
		done
		pai_hosts=$pai_hosts${pai_hosts:+,}$pai_ip:$pai_http
		pai_instances=$pai_instances${pai_instances:+,}$pai_name:$pai_i
		# The files of ssh need no address: names stay right when a task gets another one.
		if [ -n "${pai_with_ssh-}" ]; then
			pai_ssh_hosts=${pai_ssh_hosts-}"$pai_name $pai_i $pai_host-$pai_i.$pai_subdomain $*
"
		fi
		pai_i=$((pai_i + 1))
	done
	export "PAI_TASK_ROLE_${pai_name}_HOST_LIST=$pai_hosts"
	pai_total=$((pai_total + pai_count)) pai_roles=$((pai_roles + 1))
	if [ "$pai_name" = "$PAI_CURRENT_TASK_ROLE_NAME" ]; then export PAI_TASKS_NUM="$pai_count"; fi
}

# pai_own PORT=NUMBERS... exports what is known of this task.
pai_own() {
	for pai_port; do
		pai_value=${pai_port#*=}
		export "PAI_CONTAINER_HOST_${pai_port%%=*}_PORT_LIST=$pai_value"
		case $pai_port in
		ssh=*) export PAI_CONTAINER_SSH_PORT="${pai_value%%,*}" ;;
		http=*) export PAI_CONTAINER_HOST_PORT="${pai_value%%,*}" PAI_CURRENT_CONTAINER_PORT="${pai_value%%,*}" ;;
		esac
	done
	pai_value=
	for pai_port; do pai_value=$pai_value${pai_port%%=*}:${pai_port#*=}\;; done
	export PAI_CONTAINER_HOST_PORT_LIST="$pai_value" PAI_CURRENT_CONTAINER_IP="$pai_ip" PAI_CONTAINER_HOST_IP="$pai_ip"
}

pai_end() {
	export PAI_TASK_ROLE_INSTANCES="$pai_instances" PAI_JOB_TASK_COUNT="$pai_total" PAI_TASK_ROLES_NUM="$pai_roles"
	export PAI_TASK_INDEX="$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX" PAI_USERNAME="$PAI_USER_NAME" PAI_FRAMEWORK_NAME="$PAI_USER_NAME~$PAI_JOB_NAME"
}

# pai_ssh starts the ssh server of the image, and lets the client of the image find all
# tasks as ROLE-INDEX.
pai_ssh() {
	pai_dir=${HOME:-/root}/.ssh
	if ! (umask 077 && mkdir -p "$pai_dir" && printf '%s\n' "$pai_ssh_keys" >>"$pai_dir/authorized_keys" && pai_ssh_files) 2>/dev/null; then
		echo "PAI: ssh: the task cannot write to $pai_dir" >&2
		if [ "$pai_ssh_seconds" -gt 0 ]; then exit 10; fi
		return 0
	fi
	pai_sshd=$(command -v sshd || echo /usr/sbin/sshd)
	if [ -x "$pai_sshd" ] && command -v ssh-keygen >/dev/null 2>&1; then
		if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi
		(umask 077 && rm -f "$pai_dir/pai_host_key" && ssh-keygen -q -t ed25519 -N '' -f "$pai_dir/pai_host_key" && "$pai_sshd" -f "$pai_dir/pai_sshd_config") ||
			echo "PAI: ssh: the server of the image did not start" >&2
	else
		echo "PAI: ssh: the image has no ssh server (sshd): no login to this task" >&2
		if [ "$pai_ssh_seconds" -gt 0 ]; then exit 10; fi
	fi
	if [ "$pai_ssh_seconds" -gt 0 ]; then pai_barrier; fi
}

pai_ssh_files() {
	if [ -n "$pai_ssh_key" ]; then cat "$pai_ssh_key" >"$pai_dir/pai_key" || return 1; fi
	printf '%s' "$pai_ssh_hosts" | while read -r pai_name pai_i pai_host pai_more; do
		for pai_port in $pai_more; do
			case $pai_port in ssh=*) pai_value=${pai_port#*=} pai_value=${pai_value%%,*} ;; esac
		done
		printf 'Host %s-%s\n  HostName %s\n  Port %s\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n' \
			"$pai_name" "$pai_i" "$pai_host" "$pai_value"
		if [ -n "$pai_ssh_key" ]; then printf '  IdentityFile %s\n' "$pai_dir/pai_key"; fi
	done >>"$pai_dir/config" || return 1
	env | while IFS= read -r pai_value; do
		case $pai_value in [A-Za-z_]*=*) printf '%s\n' "$pai_value" ;; esac
	done >"$pai_dir/environment" || return 1
	printf '%s\n' "Port $PAI_CONTAINER_SSH_PORT" "HostKey $pai_dir/pai_host_key" "PidFile $pai_dir/pai_sshd.pid" \
		"AuthorizedKeysFile $pai_dir/authorized_keys" "StrictModes no" "PermitRootLogin yes" "PasswordAuthentication no" \
		"PermitUserEnvironment yes" "UsePAM no" "Subsystem sftp internal-sftp" >"$pai_dir/pai_sshd_config"
}

# pai_barrier waits until this task can log in to all others.
pai_barrier() {
	echo "PAI: ssh: waiting until all tasks can be logged in to" >&2
	for pai_value in $(echo "$pai_instances" | tr ',' ' '); do
		if [ "$pai_value" = "$PAI_CURRENT_TASK_ROLE_NAME:$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX" ]; then continue; fi
		while ! ssh -q -o BatchMode=yes -o ConnectTimeout=5 "${pai_value%:*}-${pai_value#*:}" true </dev/null; do
			if [ "$pai_ssh_seconds" -le 0 ]; then
				echo "PAI: ssh: no login to ${pai_value%:*}-${pai_value#*:} in the time of the barrier" >&2
				exit 10
			fi
			sleep 2
			pai_ssh_seconds=$((pai_ssh_seconds - 2))
		done
	done
}

pai_tensorboard() {
	if ! command -v tensorboard >/dev/null 2>&1; then
		echo "PAI: the image has no tensorboard: it does not run" >&2
		return 0
	fi
	(
		pai_value=--logdir=$pai_tensorboard_logs
		case $(tensorboard --version_tb 2>/dev/null || tensorboard --version 2>/dev/null) in
		1.*) exec tensorboard "$pai_value" --port="$pai_tensorboard_port" ;;
		esac
		case $pai_tensorboard_logs in
		*,*) pai_value=--logdir_spec=$pai_tensorboard_logs ;;
		*) pai_value=--logdir=${pai_tensorboard_logs#*:} ;;
		esac
		exec tensorboard "$pai_value" --port="$pai_tensorboard_port" --bind_all
	) &
}
