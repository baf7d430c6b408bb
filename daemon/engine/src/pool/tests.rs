use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use super::*;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

#[test]
fn every_chunk_is_computed_once_whatever_the_threads() {
    for threads in [1, 2, 3, 7] {
        let mut pool = pool(threads);
        for chunks in [0, 1, 2, 3, 64, 1000] {
            let counts: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(chunks, |chunk, lane| {
                assert!(lane < threads);
                counts[chunk].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn many_short_calls_in_a_row_lose_nothing() {
    let mut pool = pool(4);
    let sum = AtomicUsize::new(0);
    for call in 0..20_000 {
        pool.run(1 + call % 5, |chunk, _| {
            sum.fetch_add(chunk + 1, Ordering::Relaxed);
        });
    }
    let expected: usize = (0..20_000).map(|call| (1..=1 + call % 5).sum::<usize>()).sum();
    assert_eq!(sum.into_inner(), expected);
}

#[test]
fn chunks_run_at_once_on_lanes_of_their_own() {
    let mut pool = pool(3);
    // Each chunk waits for the two others: no thread can compute two of them.
    let (barrier, lanes) = (Barrier::new(3), Mutex::new(HashSet::new()));
    pool.run(3, |_, lane| {
        barrier.wait();
        assert!(lanes.lock().unwrap().insert(lane));
    });
    assert_eq!(lanes.into_inner().unwrap(), HashSet::from([0, 1, 2]));
}

#[test]
fn what_a_stuck_worker_does_not_claim_is_taken_over() {
    let mut pool = pool(2);
    let (done, others) = (AtomicUsize::new(0), 99);
    let seen = Mutex::new(Vec::new());
    pool.run(others + 1, |_, lane| {
        if lane == 1 {
            // Loses its core until all other chunks are done.
            while done.load(Ordering::Acquire) < others {
                std::thread::yield_now();
            }
        }
        seen.lock().unwrap().push(lane);
        done.fetch_add(1, Ordering::Release);
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), others + 1);
    assert!(seen.iter().filter(|lane| **lane == 1).count() <= 1);
}

#[test]
fn parked_workers_wake_up() {
    let mut pool = pool(2);
    for _ in 0..50 {
        while pool.shared.parked.0.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        // Needs both.
        let barrier = Barrier::new(2);
        pool.run(2, |_, _| {
            barrier.wait();
        });
    }
}

#[test]
fn a_panic_reaches_the_issuer_and_the_pool_lives_on() {
    let mut pool = pool(2);
    let barrier = Barrier::new(2);
    let result = catch_unwind(AssertUnwindSafe(|| {
        pool.run(2, |_, lane| {
            barrier.wait();
            assert!(lane == 0, "lane {lane} fails");
        });
    }));
    let message = result.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("lane 1 fails"), "{message}");
    let sum = AtomicUsize::new(0);
    pool.run(10, |chunk, _| {
        sum.fetch_add(chunk, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 45);
}

#[test]
fn a_worker_that_let_the_issuer_wait_is_suspended_and_resumed() {
    let mut pool = pool(2);
    let shared = Arc::clone(&pool.shared);
    shared.straggler.store(1, Ordering::Relaxed);
    pool.quarantine.late(&shared, Duration::from_micros(100));
    assert!(!pool.quarantine.all_suspended(&shared, 1));
    pool.quarantine.late(&shared, Duration::from_secs(1));
    assert!(pool.quarantine.all_suspended(&shared, 1));
    assert!(!pool.quarantine.all_suspended(&shared, 2));
    // Alone meanwhile; and both again once its time is over.
    pool.quarantine.until = Some(Instant::now() + Duration::from_hours(1));
    for _ in 0..100 {
        pool.run(4, |_, lane| assert_eq!(lane, 0));
    }
    pool.quarantine.until = Some(Instant::now());
    let barrier = Barrier::new(2);
    pool.run(2, |_, _| {
        barrier.wait();
    });
}

#[test]
fn stretches_cover_a_length() {
    let mut pool = pool(2);
    let mut out = vec![0_u32; 1003];
    let parts = Parts::new(&mut out);
    pool.stretches(1003, 64, |range, _| {
        #[expect(unsafe_code, reason = "stretches write parts of their own")]
        // SAFETY: stretches do not overlap.
        let part = unsafe { parts.part(range.clone()) };
        part.iter_mut().zip(range).for_each(|(place, index)| *place += index as u32);
    });
    assert!(out.iter().enumerate().all(|(index, value)| index as u32 == *value));
}

#[test]
fn threads_are_named_and_flush_denormals() {
    let mut pool = pool(2);
    let (barrier, names) = (Barrier::new(2), Mutex::new(Vec::new()));
    pool.run(2, |_, lane| {
        barrier.wait();
        if lane == 1 {
            let product = std::hint::black_box(1e-30_f32) * std::hint::black_box(1e-10_f32);
            if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                assert_eq!(product.to_bits(), 0);
            }
            names.lock().unwrap().push(std::thread::current().name().unwrap().to_owned());
        }
    });
    let names = names.into_inner().unwrap();
    assert_eq!(names, ["engine-1"]);
    assert!(crate::threads::is_engine_thread(&names[0], crate::setup::ExecutorKind::Cpu));
}
