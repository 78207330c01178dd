//! Ranks of a gang find each other by name, with the variables PyTorch expects.

mod support;

use pond_core::event::{Exit, Launch};
use pond_core::ids::NodeName;
use pond_core::model::Command;
use support::{Pool, change, root, script, task};

fn ranked(mut launch: Launch, rank: u32, size: usize) -> Launch {
    launch.allocation.task.rank = rank;
    launch.peers = vec![NodeName::from("here"); size].into();
    launch.attempt = 3;
    launch
}

#[test]
fn every_rank_has_its_variables() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("variables");
    let text = "echo $RANK $WORLD_SIZE $LOCAL_RANK $NODE_RANK $POND_NODES $POND_NODE_RANK $POND_JOB_ID $POND_ATTEMPT; \
                echo $MASTER_ADDR; getent hosts $MASTER_ADDR | wc -l; echo $POND_NODE_IPS | wc -w; \
                echo [$CUDA_VISIBLE_DEVICES] $POND_GPUS_PER_NODE $PORT $POND_DEADLINE $POND_CHECKPOINT_DIR";
    let with = |rank| {
        let mut launch = ranked(script(7, text), rank, 2);
        launch.deadline = Some(pond_core::units::Timestamp(5_000));
        launch.checkpoint_dir = Some("/ckpt".to_owned());
        change(launch, |run| run.ports = vec![pond_core::model::PortSpec { container: 8888, host: 0 }])
    };
    for rank in 0..2 {
        let (exit, output) = pool.run(with(rank));
        assert_eq!(exit, Exit::Code(0), "{output}");
        assert_eq!(output, format!("{rank} 2 0 {rank} 2 {rank} 7 3\npond-7-0\n1\n2\n[] 0 8888 5 /ckpt\n"));
    }
}

#[test]
fn ranks_reach_each_other_by_name() {
    if !root() || std::process::Command::new("python3").arg("-V").output().is_err() {
        eprintln!("skipped: needs root and python3, so gangs stay untested");
        return;
    }
    let mut pool = Pool::open("gang");
    let program = "\
import os, socket, time
where = (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))
if os.environ['RANK'] == '0':
    assert socket.gethostname() == where[0]
    server = socket.create_server(('', where[1]))
    peer, address = server.accept()
    print(peer.recv(100).decode(), address[0] in os.environ['POND_NODE_IPS'].split())
else:
    while True:
        try:
            socket.create_connection(where).sendall(b'hello from ' + socket.gethostname().encode())
            break
        except OSError:
            time.sleep(0.05)
";
    for rank in 0..2 {
        let launch = change(ranked(script(1, ""), rank, 2), |run| {
            run.command = Command::Argv(vec!["python3".into(), "-c".into(), program.into()]);
        });
        pool.start(launch);
    }
    for rank in 0..2 {
        assert_eq!(
            pool.exited(task(1).gang.task(rank)),
            Exit::Code(0),
            "{}",
            pool.output(task(1).gang.task(rank))
        );
    }
    assert_eq!(pool.output(task(1)), "hello from pond-1-1 True\n");
}
