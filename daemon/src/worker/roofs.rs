//! Looks at the machine's roofs. Done in a worker that holds no model: the memory that is read would count as
//! the model's otherwise.

use std::time::Duration;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::kernels::Kernels;
use slmscope_engine::roofs::{Buffer, Roofs};
use slmscope_engine::setup::Setup;
use slmscope_profiles::roofline::Look;

use super::protocol::{Event, LookOrder};
use super::{End, Worker};

impl Worker {
    /// Looks as often as asked for, and tells.
    pub(super) fn look(&self, order: LookOrder) -> Result<(), End> {
        let Setup { isa, threads, .. } = order.setup;
        let kernels = Kernels::new(isa).ok_or_else(|| End::Failed(format!("this machine has no {isa}")))?;
        let buffer = Buffer::new(order.buffer_bytes as usize);
        let mut looks = Vec::with_capacity(order.looks as usize);
        for _ in 0..order.looks {
            if self.is_cancelled() {
                return Err(End::Cancelled);
            }
            let roofs = Roofs::take(kernels, threads.get(), &buffer, Duration::from_nanos(order.look_ns));
            looks.push(Look {
                at_ns: Monotonic.now_ns(),
                read_bytes: roofs.read_bytes,
                f32_flops: roofs.f32_flops,
                int8_ops: roofs.int8_ops,
            });
        }
        self.send(&Event::Looks(looks))?;
        Ok(())
    }
}
