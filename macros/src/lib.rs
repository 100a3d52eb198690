//! Attributes and derives of gorun. Users reach them through the `gorun` crate.
// UNSAFETY: the derive writes the `unsafe impl` whose conditions it has checked; no unsafe code runs here.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input};

/// Derives `gorun_shm::segment::Shared` for a `#[repr(C)]` struct whose every field is `Shared`.
///
/// Each field is checked by the compiler, so no unsafe line has to be written or reviewed for the struct.
#[proc_macro_derive(Shared)]
pub fn derive_shared(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    shared_impl(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn shared_impl(input: &DeriveInput) -> Result<proc_macro2::TokenStream, Error> {
    if !is_repr_c(input) {
        return Err(Error::new_spanned(
            &input.ident,
            "a shared struct needs #[repr(C)], so that its picture is fixed",
        ));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only structs of atomics can be shared"));
    };
    let types: Vec<_> = match &data.fields {
        Fields::Named(fields) => fields.named.iter().map(|field| &field.ty).collect(),
        Fields::Unnamed(fields) => fields.unnamed.iter().map(|field| &field.ty).collect(),
        Fields::Unit => Vec::new(),
    };
    let name = &input.ident;
    // The crate that defines the trait names it like every other crate through an alias of itself.
    Ok(quote! {
        const _: () = {
            const fn each_field_is_shared<T: ::gorun_shm::segment::Shared>() {}
            #(each_field_is_shared::<#types>();)*
        };
        #[automatically_derived]
        #[allow(unsafe_code, clippy::allow_attributes, reason = "repr(C) and every field checked by the derive")]
        // SAFETY: repr(C) was checked by the derive, and the constant above proves each field `Shared`.
        unsafe impl ::gorun_shm::segment::Shared for #name {}
    })
}

fn is_repr_c(input: &DeriveInput) -> bool {
    let mut found = false;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        // Other words of the attribute, such as align(64), carry arguments and are skipped over.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident("C");
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<proc_macro2::TokenStream>()?;
            }
            Ok(())
        });
    }
    found
}
