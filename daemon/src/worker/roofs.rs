//! Measures the machine's roofs. Done in a worker that holds no model: the memory that is read would count as the
//! model's otherwise.

use std::time::Duration;

use slmscope_engine::clock::{Clock, Monotonic};
use slmscope_engine::kernels::Kernels;
use slmscope_engine::roofs::{Buffer, Roofs};
use slmscope_engine::setup::Setup;
use slmscope_profiles::roofline::RoofSample;

use super::protocol::{Event, MeasureRoofs};
use super::{End, Worker};

impl Worker {
    /// Takes as many samples as `request` asks for, and reports them.
    pub(super) fn measure_roofs(&self, request: MeasureRoofs) -> Result<(), End> {
        let Setup { isa, threads, .. } = request.setup;
        let kernels = Kernels::new(isa).ok_or_else(|| End::Failed(format!("this machine has no {isa}")))?;
        let buffer = Buffer::new(request.buffer_bytes as usize);
        let mut samples = Vec::with_capacity(request.samples as usize);
        for _ in 0..request.samples {
            if self.is_cancelled() {
                return Err(End::Cancelled);
            }
            let roofs = Roofs::take(kernels, threads.get(), &buffer, Duration::from_nanos(request.sample_ns));
            samples.push(RoofSample {
                at_ns: Monotonic.now_ns(),
                read_bytes: roofs.read_bytes,
                f32_flops: roofs.f32_flops,
                int8_ops: roofs.int8_ops,
            });
        }
        self.send(&Event::Roofs(samples))?;
        Ok(())
    }
}
