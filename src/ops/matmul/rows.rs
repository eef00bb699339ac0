//! Text of the kernel that uses only registers.

use super::product::{Layout, MatMul};
use super::variant::{COMPONENTS, line};
use std::fmt::Write;

/// The register kernel's parameters.
pub(super) struct Rows<'a> {
    pub op: &'a MatMul,
    pub lanes: u32,
    pub rows: u32,
    pub vectors: u32,
    pub shuffle: bool,
    /// Whether K is a multiple of four, so that the last pass of the loop needs no mask.
    pub whole_k: bool,
}

impl Rows<'_> {
    fn transposed_a(&self) -> bool {
        self.op.layout == Layout::TN
    }

    /// Where this lane reads in A and B, clamped to the matrices: rows and columns past the end of C repeat the last
    /// ones and are not written.
    pub fn origins(&self) -> String {
        let mut out = String::new();
        match (self.transposed_a(), self.shuffle) {
            (false, true) => {
                for g in 0..self.groups() {
                    line!(out, "    let m{g} = min(row + {}u + lane, M - 1u);", g * self.lanes);
                }
            }
            (false, false) => {
                for r in 0..self.rows {
                    line!(out, "    let m{r} = min(row + {r}u, M - 1u);");
                }
            }
            // Lanes 4i .. 4i + 4 hold four steps of K of the i-th group of four rows.
            (true, true) => {
                line!(out, "    let step = lane % 4u;");
                for g in 0..self.groups() {
                    let first = g * self.lanes;
                    line!(out, "    let m{g} = min(row + {first}u + lane / 4u * 4u, (M - 1u) / 4u * 4u);");
                }
            }
            (true, false) => {
                for q in 0..self.rows / 4 {
                    line!(out, "    let m{q} = min(row + {}u, (M - 1u) / 4u * 4u);", 4 * q);
                }
            }
        }
        for j in 0..self.vectors {
            let first = 4 * j * self.lanes;
            if self.op.layout == Layout::NT {
                for e in 0..4 {
                    line!(out, "    let n{j}_{e} = min(column + {}u, N - 1u);", first + e);
                }
            } else {
                line!(out, "    let n{j} = min(column + {first}u, (N - 1u) / 4u * 4u);");
            }
        }
        out
    }

    /// How many loads per lane together hold all rows.
    fn groups(&self) -> u32 {
        self.rows.div_ceil(self.lanes)
    }

    /// A row of an operand whose rows run along K.
    fn along_k(&self, operand: &str, step: &str, column: &str) -> String {
        if self.whole_k {
            format!("{operand}_at(k + {step}, {column})")
        } else {
            format!("{operand}_at(min(k + {step}, K - 1u), {column})")
        }
    }

    /// The same with zeros past K. Zeros in A are enough, since past K the kernel reads B's last row again.
    fn along_k_or_zero(&self, step: &str, column: &str) -> String {
        let load = self.along_k("a", step, column);
        if self.whole_k { load } else { format!("select(vec4(0.0), {load}, k + {step} < K)") }
    }

    pub fn loads(&self) -> String {
        let mut out = String::new();
        match (self.transposed_a(), self.shuffle) {
            (false, shuffle) => {
                for g in 0..if shuffle { self.groups() } else { self.rows } {
                    line!(out, "        let a{g} = a_at(m{g}, k);");
                }
            }
            (true, true) => {
                for g in 0..self.groups() {
                    line!(out, "        let a{g} = {};", self.along_k_or_zero("step", &format!("m{g}")));
                }
            }
            (true, false) => {
                for q in 0..self.rows / 4 {
                    for c in 0..4 {
                        let load = self.along_k_or_zero(&format!("{c}u"), &format!("m{q}"));
                        line!(out, "        let a{q}_{c} = {load};");
                    }
                }
            }
        }
        for j in 0..self.vectors {
            if self.op.layout == Layout::NT {
                for e in 0..4 {
                    line!(out, "        let t{j}_{e} = b_at(n{j}_{e}, k);");
                }
                for (c, x) in COMPONENTS.iter().enumerate() {
                    line!(
                        out,
                        "        let b{j}_{c} = vec4(t{j}_0.{x}, t{j}_1.{x}, t{j}_2.{x}, t{j}_3.{x});"
                    );
                }
            } else {
                for c in 0..4 {
                    line!(
                        out,
                        "        let b{j}_{c} = {};",
                        self.along_k("b", &format!("{c}u"), &format!("n{j}"))
                    );
                }
            }
        }
        out
    }

    /// Rows outermost, so that a row's accumulators leave the registers only once.
    pub fn products(&self) -> String {
        let mut out = String::new();
        for r in 0..self.rows {
            let (quad, inner) = (r / 4, (r % 4) as usize);
            match (self.transposed_a(), self.shuffle) {
                (false, true) => {
                    let (group, lane) = (r / self.lanes, r % self.lanes);
                    line!(out, "        let v{r} = subgroupShuffle(a{group}, {lane}u);");
                }
                (false, false) => line!(out, "        let v{r} = a{r};"),
                (true, true) if inner == 0 => {
                    let group = r / self.lanes;
                    for c in 0..4 {
                        let lane = r % self.lanes + c;
                        line!(out, "        let q{quad}_{c} = subgroupShuffle(a{group}, {lane}u);");
                    }
                }
                (true, _) => {}
            }
            for j in 0..self.vectors {
                let value = |c: usize| match (self.transposed_a(), self.shuffle) {
                    (false, _) => format!("v{r}.{}", COMPONENTS[c]),
                    (true, true) => format!("q{quad}_{c}.{}", COMPONENTS[inner]),
                    (true, false) => format!("a{quad}_{c}.{}", COMPONENTS[inner]),
                };
                let terms: Vec<String> = (0..4).map(|c| format!("{} * b{j}_{c}", value(c))).collect();
                line!(out, "        s{r}_{j} += {};", terms.join(" + "));
            }
        }
        out
    }

    pub fn stores(&self) -> String {
        let mut out = String::new();
        for j in 0..self.vectors {
            line!(out, "    let column{j} = column + {}u;", 4 * j * self.lanes);
            if self.op.bias {
                line!(out, "    let bias{j} = bias_at(column{j});");
            }
        }
        for r in 0..self.rows {
            for j in 0..self.vectors {
                let bias = if self.op.bias { format!(" + bias{j}") } else { String::new() };
                line!(out, "    write(row + {r}u, column{j}, s{r}_{j}{bias});");
            }
        }
        out
    }
}
