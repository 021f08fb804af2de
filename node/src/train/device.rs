//! Where burn computes: chosen once, from configuration.

use std::panic::catch_unwind;
use std::sync::OnceLock;

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::wgpu::wgpu::DeviceType;
use serde::{Deserialize, Serialize};

/// What the configuration's `device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// A GPU where there is one, else the CPU. A software renderer is no GPU: it
    /// is far slower than the CPU itself.
    #[default]
    Auto,
    /// Whatever Vulkan, Metal or DirectX 12 offers, be it a software renderer.
    Gpu,
    Cpu,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "`device = \"gpu\"`, and no GPU can be used: {reason}; install the GPU's driver, or set `device` to `auto` or `cpu`"
    )]
    NoGpu { reason: String },
}

/// On Linux only Vulkan: probing OpenGL as well costs start-up time, complains on
/// standard error where there is no display, and reaches no GPU worth training on.
#[cfg(target_os = "linux")]
const NATIVE_API: WgpuBackend = WgpuBackend::Vulkan;
#[cfg(not(target_os = "linux"))]
const NATIVE_API: WgpuBackend = WgpuBackend::Auto;

/// A device of burn and its name for people.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) device: Device,
    pub(super) name: String,
}

/// The same device for encoders of text: a process opens a GPU only once.
pub(crate) fn device_for_encoders(choice: DeviceChoice) -> Result<Device, DeviceError> {
    Ok(choose(choice)?.device)
}

/// The device of this choice.
pub(super) fn choose(choice: DeviceChoice) -> Result<Chosen, DeviceError> {
    let cpu = || Chosen {
        device: Device::flex(),
        name: "CPU, flex".to_owned(),
    };
    match (choice, gpu_if(choice != DeviceChoice::Cpu)) {
        (DeviceChoice::Auto, Some(Ok(gpu))) if !gpu.is_software => Ok(gpu.chosen.clone()),
        (DeviceChoice::Gpu, Some(Ok(gpu))) => Ok(gpu.chosen.clone()),
        (DeviceChoice::Gpu, Some(Err(reason))) => Err(DeviceError::NoGpu {
            reason: reason.clone(),
        }),
        _ => Ok(cpu()),
    }
}

struct Gpu {
    chosen: Chosen,
    is_software: bool,
}

/// The best adapter of this machine. A process opens it once: burn refuses to
/// initialise a device twice.
fn gpu_if(wanted: bool) -> Option<&'static Result<Gpu, String>> {
    static GPU: OnceLock<Result<Gpu, String>> = OnceLock::new();
    // A driver at fault may panic inside wgpu; that is no reason to take the node down.
    wanted.then(|| {
        GPU.get_or_init(|| catch_unwind(open).unwrap_or_else(|fault| Err(panic_text(&*fault))))
    })
}

fn open() -> Result<Gpu, String> {
    let (device, setup) = Device::wgpu_options()
        .graphics_api(NATIVE_API)
        .init_with_setup()
        .map_err(|error| error.to_string())?;
    let adapter = setup.adapter.get_info();
    let is_software = adapter.device_type == DeviceType::Cpu;
    let kind = if is_software {
        "software renderer"
    } else {
        "GPU"
    };
    Ok(Gpu {
        chosen: Chosen {
            device,
            name: format!("{kind}, {} through {}", adapter.name, adapter.backend),
        },
        is_software,
    })
}

/// What a panic said.
pub(super) fn panic_text(fault: &(dyn std::any::Any + Send)) -> String {
    let text = fault.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| fault.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it broke off without saying why".to_owned())
}
