//! Tensors that share the memory of another: rows of it, or a view of its elements with its own shape.

use super::{Tape, TensorId, TensorInfo};

/// A view starts at a multiple of this many elements: 256 bytes of f16.
const VIEW_ALIGNMENT: usize = 128;

impl Tape {
    /// Rows `first .. first + rows` of a tensor's leading dimension, as a tensor that shares its memory.
    ///
    /// The gradient of a slice is the slice of the gradient.
    pub fn slice_rows(&mut self, tensor: TensorId, first: usize, rows: usize) -> TensorId {
        let info = self.info(tensor).clone();
        assert!(info.parent.is_none(), "a slice of a slice is not supported");
        assert!(first + rows <= info.shape.dims()[0], "rows {first}..{} of {}", first + rows, info.name);
        if first == 0 && rows == info.shape.dims()[0] {
            return tensor;
        }
        let mut dims = info.shape.dims().to_vec();
        dims[0] = rows;
        let width = info.shape.elements() / info.shape.dims()[0];
        let name = format!("{}[{first}..{}]", info.name, first + rows);
        self.share(name, tensor, first * width, &dims)
    }

    /// The elements of `owner` from `first` on, as a tensor with its own shape that shares their memory: a matrix in a flat
    /// arena. `first` is a multiple of 128, so that a device can bind it in either element type.
    ///
    /// The gradient of a view is the same view of the gradient. Two views of one tensor are either equal or disjoint.
    pub fn view(&mut self, owner: TensorId, first: usize, dims: &[usize]) -> TensorId {
        let info = self.info(owner);
        let (end, name) = (first + dims.iter().product::<usize>(), &info.name);
        assert!(info.parent.is_none(), "a view of a slice is not supported");
        assert!(end <= info.shape.elements(), "elements {first}..{end} of {name} {}", info.shape);
        assert!(first.is_multiple_of(VIEW_ALIGNMENT), "a view of {name} from element {first}");
        let name = format!("{name} at {first} as {dims:?}");
        self.share(name, owner, first, dims)
    }

    /// The tensor with that name, declared on first use, which shares the memory of `owner` from an element on.
    fn share(&mut self, name: String, owner: TensorId, first: usize, dims: &[usize]) -> TensorId {
        if let Some(known) = self.find(&name) {
            return known;
        }
        let TensorInfo { dtype, role, gradient, .. } = self.info(owner).clone();
        let shared = self.declare(name, dims, dtype, role, Some((owner, first)));
        self.tensors[shared.index()].gradient = gradient;
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_a_view_is_the_view_of_the_gradient() {
        let mut tape = Tape::new();
        let arena = tape.parameter("arena", &[512]);
        let matrix = tape.view(arena, 256, &[16, 8]);
        assert_eq!(tape.view(arena, 256, &[16, 8]), matrix);
        assert_eq!(tape.parameters(), [arena]);
        let whole = tape.gradient_of(arena);
        let gradient = tape.gradient_of(matrix);
        let info = tape.info(gradient);
        assert_eq!((info.parent, info.shape.dims()), (Some((whole, 256)), &[16, 8][..]));
    }

    #[test]
    #[should_panic(expected = "elements 256..640 of arena [512]")]
    fn a_view_ends_within_its_owner() {
        let mut tape = Tape::new();
        let arena = tape.parameter("arena", &[512]);
        tape.view(arena, 256, &[16, 24]);
    }
}
