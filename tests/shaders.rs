//! Every kernel that any device could be given, without a device: it parses, takes exactly the constants and bindings of its
//! recipe, stays within WebGPU's limits for all devices, and becomes SPIR-V, MSL, HLSL and GLSL.

use crate::subjects::{
    Checked, Subject, Subjects, configs, devices, parse, specialized, uses_f16, uses_matrix_units,
    uses_subgroups,
};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, Layouter};
use naga::valid::ModuleInfo;
use naga::{
    AddressSpace, Handle, ImageClass, Module, Scalar, ShaderStage, StorageAccess, StorageFormat, Type,
    TypeInner,
};
use normfree::ops::{Binding, Kernel, Operand};
use normfree::tape::DType;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Names and slots: every variable in use is bound, nothing else is, and inputs are only read.
fn binds_what_it_names((module, info): &(Module, ModuleInfo), bindings: &[Binding]) -> Result<(), String> {
    let uses = info.get_entry_point(0);
    let mut slots = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (handle, variable) in module.global_variables.iter().filter(|(h, _)| !uses[*h].is_empty()) {
        let Some(place) = &variable.binding else { continue };
        let name = variable.name.as_deref().unwrap_or_default();
        if place.group != 0 || !slots.insert(place.binding) {
            return Err(format!("`{name}` stands at @group({}) @binding({})", place.group, place.binding));
        }
        let Some((_, operand)) = bindings.iter().find(|(bound, _)| *bound == name) else {
            return Err(format!("nothing is bound to `{name}`"));
        };
        names.insert(name);
        let image = matches!(
            operand,
            Operand::InputImage(_) | Operand::InputWindowImage { .. } | Operand::OutputWindowImage { .. }
        );
        let input = matches!(operand, Operand::Input(_) | Operand::InputWindow { .. });
        match (variable.space, &module.types[variable.ty].inner) {
            (AddressSpace::Handle, TypeInner::Image { class: ImageClass::Storage { access, .. }, .. })
                if image && *access == StorageAccess::LOAD => {}
            (AddressSpace::Storage { access }, _)
                if !(image || input && access.contains(StorageAccess::STORE)) => {}
            (space, _) => return Err(format!("{operand:?} is bound to `{name}`, which is {space:?}")),
        }
        if uses[handle].contains(naga::valid::GlobalUse::WRITE) && (input || image) {
            return Err(format!("`{name}` is written"));
        }
    }
    match bindings.iter().find(|(name, _)| !names.contains(name)) {
        Some((name, _)) => Err(format!("`{name}` is bound and not used")),
        None if names.len() != bindings.len() => Err("a name is bound twice".to_owned()),
        None => Ok(()),
    }
}

/// The scalars that a type is made of.
fn scalars(module: &Module, of: Handle<Type>) -> Vec<Scalar> {
    match &module.types[of].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => vec![*scalar],
        TypeInner::Array { base, .. } => scalars(module, *base),
        TypeInner::Struct { members, .. } => {
            members.iter().flat_map(|member| scalars(module, member.ty)).collect()
        }
        TypeInner::Image {
            class: ImageClass::Storage { format: StorageFormat::Rgba16Float, .. }, ..
        } => {
            vec![Scalar::F16]
        }
        TypeInner::Image {
            class: ImageClass::Storage { format: StorageFormat::Rgba32Float, .. }, ..
        } => {
            vec![Scalar::F32]
        }
        other => panic!("a buffer or an image of {other:?}"),
    }
}

/// The text declares every tensor with the element type that it has.
fn declares_the_tensors_types(
    (module, info): &(Module, ModuleInfo),
    bindings: &[Binding],
    types: &[Option<DType>],
) -> Result<(), String> {
    let uses = info.get_entry_point(0);
    let used = module.global_variables.iter().filter(|(h, v)| v.binding.is_some() && !uses[*h].is_empty());
    for (_, variable) in used {
        let name = variable.name.as_deref().unwrap_or_default();
        let bound = bindings.iter().zip(types).find(|((bound, _), _)| *bound == name);
        let Some((_, Some(found))) = bound else { continue };
        let wanted = match found {
            DType::F32 => Scalar::F32,
            DType::F16 => Scalar::F16,
            DType::U32 => Scalar::U32,
        };
        let declared = scalars(module, variable.ty);
        if declared.iter().any(|scalar| *scalar != wanted) {
            return Err(format!("`{name}` is declared as {declared:?}, its tensor is {found:?}"));
        }
    }
    Ok(())
}

/// WebGPU's limits for every device: <https://www.w3.org/TR/webgpu/#limits>. Only a kernel that uses matrix units may take the
/// workgroup memory that the traits of a device with such units have here, which is the smallest that exists: Metal's.
fn keeps_to_the_floor((module, info): &(Module, ModuleInfo)) -> Result<(), String> {
    let uses = info.get_entry_point(0);
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let (mut buffers, mut images, mut bytes) = (0, 0, 0);
    for (_, variable) in module.global_variables.iter().filter(|(h, _)| !uses[*h].is_empty()) {
        match variable.space {
            AddressSpace::Storage { .. } => buffers += 1,
            AddressSpace::Handle => images += 1,
            AddressSpace::WorkGroup => bytes += layouter[variable.ty].size.next_multiple_of(16),
            AddressSpace::Private => {}
            other => return Err(format!("a variable in {other:?}")),
        }
    }
    let invocations: u32 = module.entry_points[0].workgroup_size.iter().product();
    let most = if bytes > 16 << 10 && uses_matrix_units(module) { 32 << 10 } else { 16 << 10 };
    for (what, found, most) in [
        ("storage buffers", buffers, 8),
        ("storage images", images, 4),
        ("bytes of workgroup memory", bytes, most),
        ("invocations", invocations, 256),
    ] {
        if found > most {
            return Err(format!("{found} {what}, {most} are promised"));
        }
    }
    Ok(())
}

fn spirv((module, info): &(Module, ModuleInfo), entry: &str) -> Result<(), String> {
    let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.to_owned() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|error| error.to_string())?;
    if words.len() > 5 { Ok(()) } else { Err("nothing is written".to_owned()) }
}

fn metal((module, info): &(Module, ModuleInfo), entry: &str) -> Result<(), String> {
    let options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, entry.to_owned())),
        ..msl::PipelineOptions::default()
    };
    let (text, made) =
        msl::write_string(module, info, &options, &pipeline).map_err(|error| error.to_string())?;
    written(&text, made.entry_point_names)
}

fn direct3d((module, info): &(Module, ModuleInfo), entry: &str) -> Result<(), String> {
    let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..hlsl::Options::default() };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, entry.to_owned())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let made = writer.write(module, info, None).map_err(|error| error.to_string())?;
    written(&text, made.entry_point_names)
}

/// The one entry point exists, under the name that the translation gives it.
fn written<E: std::fmt::Display>(text: &str, names: Vec<Result<String, E>>) -> Result<(), String> {
    match names.as_slice() {
        [Ok(name)] if text.contains(&format!("{name}(")) => Ok(()),
        [Err(error)] => Err(error.to_string()),
        _ => Err("the entry point is missing".to_owned()),
    }
}

fn opengl((module, info): &(Module, ModuleInfo), entry: &str) -> Result<(), String> {
    let options = glsl::Options { version: glsl::Version::new_gles(310), ..glsl::Options::default() };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: entry.to_owned(),
        multiview: None,
    };
    let mut text = String::new();
    let policies = BoundsCheckPolicies::default();
    let writer = glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies);
    writer.and_then(|mut writer| writer.write()).map_err(|error| error.to_string())?;
    // Subgroup operations are an extension there; everything else is in the language itself.
    let extended = text.contains("#extension GL_KHR_shader_subgroup");
    if extended != uses_subgroups(module) {
        return Err(format!("subgroup extensions: {extended}"));
    }
    if text.contains("void main()") { Ok(()) } else { Err("there is no main".to_owned()) }
}

/// Checks everything about one kernel.
fn examine(subject: &Subject, checked: &Checked) -> Result<(), String> {
    let kernel = &subject.kernel;
    // naga accepts the operations without the directive.
    if uses_subgroups(&checked.0) != kernel.text.contains("enable subgroups;") {
        return Err(
            "WGSL wants `enable subgroups;` where there are subgroup operations, and nowhere else".to_owned()
        );
    }
    let module = specialized(checked, kernel)?;
    binds_what_it_names(&module, &subject.bindings)?;
    declares_the_tensors_types(&module, &subject.bindings, &subject.types)?;
    keeps_to_the_floor(&module)?;
    if subject.plain && uses_subgroups(&module.0) {
        return Err("subgroup operations on a device that has none".to_owned());
    }
    for (language, translate) in [
        ("SPIR-V", spirv as fn(&(Module, ModuleInfo), &str) -> Result<(), String>),
        ("MSL", metal),
        ("HLSL", direct3d),
        ("GLSL ES", opengl),
    ] {
        // Vulkan and Metal have matrix units; wgpu offers them only there, and Metal's are 8 wide.
        let units = uses_matrix_units(&checked.0);
        if units && (language == "HLSL" || language == "MSL" && kernel.text.contains("coop_mat16x16")) {
            continue;
        }
        // GLSL ES has no 16-bit floats; wgpu does not offer SHADER_F16 through OpenGL.
        if language == "GLSL ES" && uses_f16(&checked.0) {
            continue;
        }
        translate(&module, kernel.entry).map_err(|error| format!("{language}: {error}"))?;
    }
    Ok(())
}

#[test]
fn every_kernel_is_portable() {
    let Subjects { list: subjects, mut complaints, .. } = Subjects::of(&devices(), &configs(), false);
    let mut modules: HashMap<Arc<str>, Result<Checked, String>> = HashMap::new();
    for subject in &subjects {
        let kernel = &subject.kernel;
        let checked = modules.entry(kernel.text.clone()).or_insert_with(|| parse(&kernel.text));
        let result = checked.clone().and_then(|checked| examine(subject, &checked));
        if let Err(complaint) = result {
            complaints.push(format!("{}: {complaint}", subject.who));
        }
    }
    println!("{} kernels, {} texts", subjects.len(), modules.len());
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), subjects.len(), complaints.join("\n"));
}

#[test]
fn the_checks_can_fail() {
    let text = "
        override N: u32;
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        var<workgroup> tile: array<f32, N>;
        @compute @workgroup_size(N)
        fn copy(@builtin(local_invocation_index) i: u32) {
            tile[i] = x[i];
            workgroupBarrier();
            y[i] = tile[N - 1u - i];
        }";
    let checked = parse(text).unwrap();
    let bindings = [("x", Operand::Input(0)), ("y", Operand::Output(0))];
    let examined_as = |types: [DType; 2], bindings: &[Binding], given: &[(&'static str, f64)]| {
        let (kernel, bindings) = (Kernel::new(text, "copy", given), bindings.to_vec());
        let types = types.map(Some).to_vec();
        let subject = Subject { kernel, bindings, types, who: String::new(), plain: true, default: true };
        examine(&subject, &checked)
    };
    let examined =
        |bindings: &[Binding], given: &[(&'static str, f64)]| examined_as([DType::F32; 2], bindings, given);
    assert_eq!(examined(&bindings, &[("N", 64.0)]), Ok(()));
    let refused = |part: &str, bindings: &[Binding], given: &[(&'static str, f64)]| {
        let error = examined(bindings, given).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    let half = examined_as([DType::F16, DType::F32], &bindings, &[("N", 64.0)]);
    assert!(half.unwrap_err().contains("`x` is declared as"));
    refused("Missing value", &bindings, &[]);
    refused("not found", &bindings, &[("N", 64.0), ("M", 1.0)]);
    refused("not found", &bindings, &[("n", 64.0)]);
    refused("invocations", &bindings, &[("N", 257.0)]);
    refused("nothing is bound to `x`", &bindings[1..], &[("N", 64.0)]);
    refused("bound and not used", &[bindings[0], bindings[1], ("z", Operand::Input(1))], &[("N", 64.0)]);
    refused("is bound to `y`", &[bindings[0], ("y", Operand::Input(1))], &[("N", 64.0)]);
    let lanes = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn sum(@builtin(local_invocation_index) i: u32) { y[i] = subgroupAdd(y[i]); }";
    assert!(uses_subgroups(&parse(lanes).unwrap().0));
    let halves = "enable f16;
        @group(0) @binding(0) var<storage, read_write> y: array<f16>;
        @compute @workgroup_size(64)
        fn twice(@builtin(local_invocation_index) i: u32) { y[i] *= 2.0h; }";
    assert!(uses_f16(&parse(halves).unwrap().0) && !uses_f16(&parse(lanes).unwrap().0));
}
