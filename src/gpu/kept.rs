//! Keeps what the driver compiled in the cache folder between runs: wgpu's pipeline cache, if a device has one.

use crate::cache;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A larger file is started afresh, since it collects the pipelines of every model ever trained.
const MOST: u64 = 64 << 20;

/// Bytes of the digest at the start of a file. Drivers are not built to handle damaged data, and wgpu only checks its
/// header.
const DIGEST: usize = 32;

/// A device's pipeline cache and its file.
pub(super) struct Kept {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    /// Digest of the data it started from.
    started_from: Option<[u8; DIGEST]>,
}

impl Kept {
    /// Starts from the file in `folder` if it is intact. `None` if the device keeps no pipelines.
    #[allow(unsafe_code)]
    pub fn open(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: &Path) -> Option<Self> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(wgpu::util::pipeline_cache_key(info)?);
        let loaded = load(&path);
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        // SAFETY: the digest shows that `store` wrote these bytes, and it writes what a cache returned. wgpu and the
        // driver refuse data of another adapter or version.
        let cache = unsafe {
            device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("pipelines"),
                data: loaded.as_deref(),
                fallback: true,
            })
        };
        let failed = pollster::block_on(scope.pop()).is_some();
        let started_from = loaded.as_deref().map(digest);
        (!failed).then_some(Self { cache, path, started_from })
    }

    pub fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Replaces the file if there is something new.
    pub fn store(&self) {
        let Some(data) = self.cache.get_data() else { return };
        if self.started_from != Some(digest(&data)) {
            cache::keep(&self.path, &sealed(&data));
        }
    }
}

fn load(path: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > MOST {
        return None;
    }
    unsealed(std::fs::read(path).ok()?)
}

fn digest(data: &[u8]) -> [u8; DIGEST] {
    Sha256::digest(data).into()
}

fn sealed(data: &[u8]) -> Vec<u8> {
    [&digest(data), data].concat()
}

fn unsealed(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let data = file.split_off(DIGEST.min(file.len()));
    (digest(&data).as_slice() == file).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_counts_as_missing() {
        let data = b"pipelines".to_vec();
        let whole = sealed(&data);
        assert_eq!(unsealed(whole.clone()), Some(data));
        assert_eq!(unsealed(sealed(&[])), Some(Vec::new()));
        for length in 0..whole.len() {
            assert_eq!(unsealed(whole[..length].to_vec()), None, "{length} bytes of it");
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert_eq!(unsealed(damaged), None, "byte {place}");
        }
    }
}
