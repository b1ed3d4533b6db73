; ModuleID = '__compute_module'
source_filename = "__compute_module"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

@constant.6 = private unnamed_addr constant [1 x i8] zeroinitializer, align 1
@constant.10 = private unnamed_addr constant [4 x i8] zeroinitializer, align 4
@constant.8 = private unnamed_addr constant [4 x i8] zeroinitializer, align 4
@constant.42 = private unnamed_addr constant [4 x i8] c"d\00\00\00", align 4
@constant.43 = private unnamed_addr constant [4 x i8] c"\01\00\00\00", align 4
@0 = private unnamed_addr constant [4 x i8] c"d\00\00\00"
@1 = private unnamed_addr constant [4 x i8] zeroinitializer
@2 = private unnamed_addr constant [4 x i8] c"\FF\05#<"
@3 = private unnamed_addr constant [4 x i8] c"\00\00\A4A"
@4 = private unnamed_addr constant [4 x i8] zeroinitializer
@5 = private unnamed_addr constant [4 x i8] c"\CD\CC\CC="
@6 = private unnamed_addr constant [4 x i8] c"\00\00\A0\C0"
@7 = private unnamed_addr constant [4 x i8] c"\00\00\A0A"
@8 = private unnamed_addr constant [4 x i8] zeroinitializer
@9 = private unnamed_addr constant [4 x i8] c"\00\00\A0A"
@10 = private unnamed_addr constant [4 x i8] c"\FF\05#<"
@11 = private unnamed_addr constant [4 x i8] c"\00\00\A4A"
@12 = private unnamed_addr constant [4 x i8] zeroinitializer
@13 = private unnamed_addr constant [4 x i8] c"\CD\CC\CC="
@14 = private unnamed_addr constant [4 x i8] zeroinitializer
@15 = private unnamed_addr constant [4 x i8] c"\00\00\A0A"
@16 = private unnamed_addr constant [4 x i8] c"\FF\05#<"
@17 = private unnamed_addr constant [4 x i8] c"\00\00\A4A"
@18 = private unnamed_addr constant [4 x i8] zeroinitializer
@19 = private unnamed_addr constant [4 x i8] c"\CD\CC\CC="
@20 = private unnamed_addr constant [4 x i8] zeroinitializer
@21 = private unnamed_addr constant [4 x i8] c"\CD\CC\CC="
@22 = private unnamed_addr constant [4 x i8] c"\00\00\A0A"
@23 = private unnamed_addr constant [4 x i8] c"\FF\05#<"
@24 = private unnamed_addr constant [4 x i8] c"\00\00\A4A"
@25 = private unnamed_addr constant [4 x i8] zeroinitializer
@26 = private unnamed_addr constant [4 x i8] c"\00\00\A0A"
@27 = private unnamed_addr constant [4 x i8] c"\FF\05#<"
@28 = private unnamed_addr constant [4 x i8] c"\00\00\A4A"
@29 = private unnamed_addr constant [4 x i8] zeroinitializer
@30 = private unnamed_addr constant [4 x i8] c"\CD\CC\CC="

; Function Attrs: uwtable
define internal void @wide.region_0.34.clone.clone(ptr %retval, ptr noalias %run_options, ptr noalias %params, ptr noalias %buffer_table, ptr noalias %status, ptr noalias %prof_counters) #0 {
entry:
  %broadcast.39.invar_address.dim.0 = alloca i64, align 8
  %fusion.5.invar_address.dim.0 = alloca i64, align 8
  %fusion.3.invar_address.dim.0 = alloca i64, align 8
  %dynamic-update-slice.11.invar_address.dim.1 = alloca i64, align 8
  %dynamic-update-slice.11.invar_address.dim.0 = alloca i64, align 8
  %dynamic-update-slice.9.invar_address.dim.1 = alloca i64, align 8
  %dynamic-update-slice.9.invar_address.dim.0 = alloca i64, align 8
  %dynamic-update-slice.10.invar_address.dim.1 = alloca i64, align 8
  %dynamic-update-slice.10.invar_address.dim.0 = alloca i64, align 8
  %fusion.4.invar_address.dim.0 = alloca i64, align 8
  %0 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %wide.arg_tuple.3 = load ptr, ptr %0, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %1 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 0
  %2 = load ptr, ptr %1, align 8, !dereferenceable !3, !align !3
  %3 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %4 = load ptr, ptr %3, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %copy.11 = getelementptr inbounds i8, ptr %4, i64 240
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.11, ptr align 1 %2, i64 4, i1 false)
  %5 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %6 = load ptr, ptr %5, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %fusion.6 = getelementptr inbounds i8, ptr %6, i64 256
  %7 = load i32, ptr %copy.11, align 4, !alias.scope !4, !noalias !7
  %constant.89 = load i32, ptr @1, align 4
  %8 = icmp slt i32 %7, %constant.89
  %9 = zext i1 %8 to i8
  %10 = load i32, ptr %copy.11, align 4, !alias.scope !4, !noalias !7
  %constant.88 = load i32, ptr @0, align 4
  %11 = add i32 %10, %constant.88
  %12 = load i32, ptr %copy.11, align 4, !alias.scope !4, !noalias !7
  %13 = trunc i8 %9 to i1
  %14 = select i1 %13, i32 %11, i32 %12
  store i32 %14, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %15 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 8
  %16 = load ptr, ptr %15, align 8, !dereferenceable !23, !align !2
  %17 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 1
  %18 = load ptr, ptr %17, align 8, !dereferenceable !24, !align !2
  %19 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %20 = load ptr, ptr %19, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %copy.12 = getelementptr inbounds i8, ptr %20, i64 80
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.12, ptr align 1 %18, i64 80, i1 false)
  %21 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 2
  %22 = load ptr, ptr %21, align 8, !dereferenceable !24, !align !2
  %23 = getelementptr inbounds ptr, ptr %buffer_table, i64 4
  %copy.13 = load ptr, ptr %23, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.13, ptr align 1 %22, i64 80, i1 false)
  %24 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 4
  %25 = load ptr, ptr %24, align 8, !dereferenceable !24, !align !2
  %26 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %27 = load ptr, ptr %26, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %copy.15 = getelementptr inbounds i8, ptr %27, i64 160
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.15, ptr align 1 %25, i64 80, i1 false)
  %28 = getelementptr inbounds ptr, ptr %buffer_table, i64 5
  %fusion.4 = load ptr, ptr %28, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  store i64 0, ptr %fusion.4.invar_address.dim.0, align 8
  br label %fusion.4.loop_header.dim.0

return:                                           ; preds = %broadcast.39.loop_exit.dim.0
  ret void

fusion.4.loop_header.dim.0:                       ; preds = %fusion.4.loop_body.dim.0, %entry
  %fusion.4.indvar.dim.0 = load i64, ptr %fusion.4.invar_address.dim.0, align 8
  %29 = icmp uge i64 %fusion.4.indvar.dim.0, 20
  br i1 %29, label %fusion.4.loop_exit.dim.0, label %fusion.4.loop_body.dim.0

fusion.4.loop_body.dim.0:                         ; preds = %fusion.4.loop_header.dim.0
  %30 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %31 = sext i32 %30 to i64
  %32 = icmp sge i64 0, %31
  %33 = select i1 %32, i64 0, i64 %31
  %34 = icmp sle i64 99, %33
  %dynamic-slice.6.start_idx0 = select i1 %34, i64 99, i64 %33
  %35 = add i64 %dynamic-slice.6.start_idx0, 0
  %36 = getelementptr inbounds [100 x i32], ptr %16, i64 0, i64 %35
  %37 = load i32, ptr %36, align 4, !alias.scope !25, !noalias !26
  %38 = sitofp i32 %37 to float
  %constant.82 = load float, ptr @5, align 4
  %multiply.22 = fmul float %38, %constant.82
  %39 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %fusion.4.indvar.dim.0
  %40 = load float, ptr %39, align 4, !alias.scope !28, !noalias !29
  %subtract.6 = fsub float %multiply.22, %40
  %constant.83 = load float, ptr @4, align 4
  %compare.28 = fcmp ole float %subtract.6, %constant.83
  %41 = zext i1 %compare.28 to i8
  %42 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.4.indvar.dim.0
  %43 = load float, ptr %42, align 4, !alias.scope !30, !noalias !31
  %44 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.4.indvar.dim.0
  %45 = load float, ptr %44, align 4, !alias.scope !30, !noalias !31
  %46 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.4.indvar.dim.0
  %47 = load float, ptr %46, align 4, !alias.scope !30, !noalias !31
  %48 = fneg float %47
  %49 = getelementptr inbounds [20 x float], ptr %copy.12, i64 0, i64 %fusion.4.indvar.dim.0
  %50 = load float, ptr %49, align 4, !alias.scope !32, !noalias !33
  %constant.81 = load float, ptr @3, align 4
  %add.35 = fadd float %50, %constant.81
  %add.34 = fadd float %48, %add.35
  %constant.41.clone.7 = load float, ptr @2, align 4
  %multiply.21 = fmul float %add.34, %constant.41.clone.7
  %add.33 = fadd float %45, %multiply.21
  %51 = trunc i8 %41 to i1
  %52 = select i1 %51, float %43, float %add.33
  %constant.80 = load float, ptr @7, align 4
  %compare.27 = fcmp oge float %52, %constant.80
  %53 = zext i1 %compare.27 to i8
  %constant.79 = load float, ptr @6, align 4
  %54 = trunc i8 %53 to i1
  %55 = select i1 %54, float %constant.79, float %52
  %56 = getelementptr inbounds [20 x float], ptr %fusion.4, i64 0, i64 %fusion.4.indvar.dim.0
  store float %55, ptr %56, align 4, !alias.scope !34, !noalias !35
  %invar.inc = add nuw nsw i64 %fusion.4.indvar.dim.0, 1
  store i64 %invar.inc, ptr %fusion.4.invar_address.dim.0, align 8
  br label %fusion.4.loop_header.dim.0

fusion.4.loop_exit.dim.0:                         ; preds = %fusion.4.loop_header.dim.0
  %57 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 6
  %58 = load ptr, ptr %57, align 8, !dereferenceable !36, !align !2
  %59 = getelementptr inbounds ptr, ptr %buffer_table, i64 0
  %fusion.1 = load ptr, ptr %59, align 8, !invariant.load !0, !dereferenceable !36, !align !2
  %60 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %61 = icmp sge i32 0, %60
  %62 = select i1 %61, i32 0, i32 %60
  %63 = icmp sle i32 99, %62
  %64 = select i1 %63, i32 99, i32 %62
  %constant.69 = load i32, ptr @8, align 4
  %65 = icmp sge i32 0, %constant.69
  %66 = select i1 %65, i32 0, i32 %constant.69
  %67 = icmp sle i32 0, %66
  %68 = select i1 %67, i32 0, i32 %66
  store i64 0, ptr %dynamic-update-slice.10.invar_address.dim.0, align 8
  br label %dynamic-update-slice.10.loop_header.dim.0

dynamic-update-slice.10.loop_header.dim.0:        ; preds = %dynamic-update-slice.10.loop_exit.dim.1, %fusion.4.loop_exit.dim.0
  %dynamic-update-slice.10.indvar.dim.0 = load i64, ptr %dynamic-update-slice.10.invar_address.dim.0, align 8
  %69 = icmp uge i64 %dynamic-update-slice.10.indvar.dim.0, 1
  br i1 %69, label %dynamic-update-slice.10.loop_exit.dim.0, label %dynamic-update-slice.10.loop_body.dim.0

dynamic-update-slice.10.loop_body.dim.0:          ; preds = %dynamic-update-slice.10.loop_header.dim.0
  store i64 0, ptr %dynamic-update-slice.10.invar_address.dim.1, align 8
  br label %dynamic-update-slice.10.loop_header.dim.1

dynamic-update-slice.10.loop_header.dim.1:        ; preds = %dynamic-update-slice.10.loop_body.dim.1, %dynamic-update-slice.10.loop_body.dim.0
  %dynamic-update-slice.10.indvar.dim.1 = load i64, ptr %dynamic-update-slice.10.invar_address.dim.1, align 8
  %70 = icmp uge i64 %dynamic-update-slice.10.indvar.dim.1, 20
  br i1 %70, label %dynamic-update-slice.10.loop_exit.dim.1, label %dynamic-update-slice.10.loop_body.dim.1

dynamic-update-slice.10.loop_body.dim.1:          ; preds = %dynamic-update-slice.10.loop_header.dim.1
  %71 = sext i32 %64 to i64
  %72 = add i64 %71, %dynamic-update-slice.10.indvar.dim.0
  %73 = sext i32 %68 to i64
  %74 = add i64 %73, %dynamic-update-slice.10.indvar.dim.1
  %75 = getelementptr inbounds [20 x float], ptr %fusion.4, i64 0, i64 %dynamic-update-slice.10.indvar.dim.1
  %76 = load float, ptr %75, align 4, !alias.scope !34, !noalias !35
  %77 = getelementptr inbounds [100 x [20 x float]], ptr %fusion.1, i64 0, i64 %72, i64 %74
  store float %76, ptr %77, align 4, !alias.scope !37, !noalias !38
  %invar.inc2 = add nuw nsw i64 %dynamic-update-slice.10.indvar.dim.1, 1
  store i64 %invar.inc2, ptr %dynamic-update-slice.10.invar_address.dim.1, align 8
  br label %dynamic-update-slice.10.loop_header.dim.1

dynamic-update-slice.10.loop_exit.dim.1:          ; preds = %dynamic-update-slice.10.loop_header.dim.1
  %invar.inc1 = add nuw nsw i64 %dynamic-update-slice.10.indvar.dim.0, 1
  store i64 %invar.inc1, ptr %dynamic-update-slice.10.invar_address.dim.0, align 8
  br label %dynamic-update-slice.10.loop_header.dim.0

dynamic-update-slice.10.loop_exit.dim.0:          ; preds = %dynamic-update-slice.10.loop_header.dim.0
  %78 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 7
  %79 = load ptr, ptr %78, align 8, !dereferenceable !39, !align !2
  %80 = getelementptr inbounds ptr, ptr %buffer_table, i64 2
  %fusion = load ptr, ptr %80, align 8, !invariant.load !0, !dereferenceable !39, !align !2
  %81 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %82 = icmp sge i32 0, %81
  %83 = select i1 %82, i32 0, i32 %81
  %84 = icmp sle i32 99, %83
  %85 = select i1 %84, i32 99, i32 %83
  %constant.67 = load i32, ptr @14, align 4
  %86 = icmp sge i32 0, %constant.67
  %87 = select i1 %86, i32 0, i32 %constant.67
  %88 = icmp sle i32 0, %87
  %89 = select i1 %88, i32 0, i32 %87
  store i64 0, ptr %dynamic-update-slice.9.invar_address.dim.0, align 8
  br label %dynamic-update-slice.9.loop_header.dim.0

dynamic-update-slice.9.loop_header.dim.0:         ; preds = %dynamic-update-slice.9.loop_exit.dim.1, %dynamic-update-slice.10.loop_exit.dim.0
  %dynamic-update-slice.9.indvar.dim.0 = load i64, ptr %dynamic-update-slice.9.invar_address.dim.0, align 8
  %90 = icmp uge i64 %dynamic-update-slice.9.indvar.dim.0, 1
  br i1 %90, label %dynamic-update-slice.9.loop_exit.dim.0, label %dynamic-update-slice.9.loop_body.dim.0

dynamic-update-slice.9.loop_body.dim.0:           ; preds = %dynamic-update-slice.9.loop_header.dim.0
  store i64 0, ptr %dynamic-update-slice.9.invar_address.dim.1, align 8
  br label %dynamic-update-slice.9.loop_header.dim.1

dynamic-update-slice.9.loop_header.dim.1:         ; preds = %dynamic-update-slice.9.loop_body.dim.1, %dynamic-update-slice.9.loop_body.dim.0
  %dynamic-update-slice.9.indvar.dim.1 = load i64, ptr %dynamic-update-slice.9.invar_address.dim.1, align 8
  %91 = icmp uge i64 %dynamic-update-slice.9.indvar.dim.1, 20
  br i1 %91, label %dynamic-update-slice.9.loop_exit.dim.1, label %dynamic-update-slice.9.loop_body.dim.1

dynamic-update-slice.9.loop_body.dim.1:           ; preds = %dynamic-update-slice.9.loop_header.dim.1
  %92 = sext i32 %85 to i64
  %93 = add i64 %92, %dynamic-update-slice.9.indvar.dim.0
  %94 = sext i32 %89 to i64
  %95 = add i64 %94, %dynamic-update-slice.9.indvar.dim.1
  %96 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %97 = sext i32 %96 to i64
  %98 = icmp sge i64 0, %97
  %99 = select i1 %98, i64 0, i64 %97
  %100 = icmp sle i64 99, %99
  %dynamic-slice.3.start_idx0 = select i1 %100, i64 99, i64 %99
  %101 = add i64 %dynamic-slice.3.start_idx0, 0
  %102 = getelementptr inbounds [100 x i32], ptr %16, i64 0, i64 %101
  %103 = load i32, ptr %102, align 4, !alias.scope !25, !noalias !26
  %104 = sitofp i32 %103 to float
  %constant.66 = load float, ptr @13, align 4
  %multiply.16 = fmul float %104, %constant.66
  %105 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %dynamic-update-slice.9.indvar.dim.1
  %106 = load float, ptr %105, align 4, !alias.scope !28, !noalias !29
  %subtract.3 = fsub float %multiply.16, %106
  %constant.68 = load float, ptr @12, align 4
  %compare.22 = fcmp ole float %subtract.3, %constant.68
  %107 = zext i1 %compare.22 to i8
  %108 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.9.indvar.dim.1
  %109 = load float, ptr %108, align 4, !alias.scope !30, !noalias !31
  %110 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.9.indvar.dim.1
  %111 = load float, ptr %110, align 4, !alias.scope !30, !noalias !31
  %112 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.9.indvar.dim.1
  %113 = load float, ptr %112, align 4, !alias.scope !30, !noalias !31
  %114 = fneg float %113
  %115 = getelementptr inbounds [20 x float], ptr %copy.12, i64 0, i64 %dynamic-update-slice.9.indvar.dim.1
  %116 = load float, ptr %115, align 4, !alias.scope !32, !noalias !33
  %constant.62 = load float, ptr @11, align 4
  %add.26 = fadd float %116, %constant.62
  %add.25 = fadd float %114, %add.26
  %constant.41.clone.4 = load float, ptr @10, align 4
  %multiply.15 = fmul float %add.25, %constant.41.clone.4
  %add.24 = fadd float %111, %multiply.15
  %117 = trunc i8 %107 to i1
  %118 = select i1 %117, float %109, float %add.24
  %constant.60 = load float, ptr @9, align 4
  %compare.21 = fcmp oge float %118, %constant.60
  %119 = zext i1 %compare.21 to i8
  %120 = getelementptr inbounds [100 x [20 x i8]], ptr %fusion, i64 0, i64 %93, i64 %95
  store i8 %119, ptr %120, align 1, !alias.scope !40, !noalias !41
  %invar.inc4 = add nuw nsw i64 %dynamic-update-slice.9.indvar.dim.1, 1
  store i64 %invar.inc4, ptr %dynamic-update-slice.9.invar_address.dim.1, align 8
  br label %dynamic-update-slice.9.loop_header.dim.1

dynamic-update-slice.9.loop_exit.dim.1:           ; preds = %dynamic-update-slice.9.loop_header.dim.1
  %invar.inc3 = add nuw nsw i64 %dynamic-update-slice.9.indvar.dim.0, 1
  store i64 %invar.inc3, ptr %dynamic-update-slice.9.invar_address.dim.0, align 8
  br label %dynamic-update-slice.9.loop_header.dim.0

dynamic-update-slice.9.loop_exit.dim.0:           ; preds = %dynamic-update-slice.9.loop_header.dim.0
  %121 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.3, i64 0, i64 5
  %122 = load ptr, ptr %121, align 8, !dereferenceable !39, !align !2
  %123 = getelementptr inbounds ptr, ptr %buffer_table, i64 1
  %fusion.2 = load ptr, ptr %123, align 8, !invariant.load !0, !dereferenceable !39, !align !2
  %124 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %125 = icmp sge i32 0, %124
  %126 = select i1 %125, i32 0, i32 %124
  %127 = icmp sle i32 99, %126
  %128 = select i1 %127, i32 99, i32 %126
  %constant.73 = load i32, ptr @20, align 4
  %129 = icmp sge i32 0, %constant.73
  %130 = select i1 %129, i32 0, i32 %constant.73
  %131 = icmp sle i32 0, %130
  %132 = select i1 %131, i32 0, i32 %130
  store i64 0, ptr %dynamic-update-slice.11.invar_address.dim.0, align 8
  br label %dynamic-update-slice.11.loop_header.dim.0

dynamic-update-slice.11.loop_header.dim.0:        ; preds = %dynamic-update-slice.11.loop_exit.dim.1, %dynamic-update-slice.9.loop_exit.dim.0
  %dynamic-update-slice.11.indvar.dim.0 = load i64, ptr %dynamic-update-slice.11.invar_address.dim.0, align 8
  %133 = icmp uge i64 %dynamic-update-slice.11.indvar.dim.0, 1
  br i1 %133, label %dynamic-update-slice.11.loop_exit.dim.0, label %dynamic-update-slice.11.loop_body.dim.0

dynamic-update-slice.11.loop_body.dim.0:          ; preds = %dynamic-update-slice.11.loop_header.dim.0
  store i64 0, ptr %dynamic-update-slice.11.invar_address.dim.1, align 8
  br label %dynamic-update-slice.11.loop_header.dim.1

dynamic-update-slice.11.loop_header.dim.1:        ; preds = %dynamic-update-slice.11.loop_body.dim.1, %dynamic-update-slice.11.loop_body.dim.0
  %dynamic-update-slice.11.indvar.dim.1 = load i64, ptr %dynamic-update-slice.11.invar_address.dim.1, align 8
  %134 = icmp uge i64 %dynamic-update-slice.11.indvar.dim.1, 20
  br i1 %134, label %dynamic-update-slice.11.loop_exit.dim.1, label %dynamic-update-slice.11.loop_body.dim.1

dynamic-update-slice.11.loop_body.dim.1:          ; preds = %dynamic-update-slice.11.loop_header.dim.1
  %135 = sext i32 %128 to i64
  %136 = add i64 %135, %dynamic-update-slice.11.indvar.dim.0
  %137 = sext i32 %132 to i64
  %138 = add i64 %137, %dynamic-update-slice.11.indvar.dim.1
  %139 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %140 = sext i32 %139 to i64
  %141 = icmp sge i64 0, %140
  %142 = select i1 %141, i64 0, i64 %140
  %143 = icmp sle i64 99, %142
  %dynamic-slice.4.start_idx0 = select i1 %143, i64 99, i64 %142
  %144 = add i64 %dynamic-slice.4.start_idx0, 0
  %145 = getelementptr inbounds [100 x i32], ptr %16, i64 0, i64 %144
  %146 = load i32, ptr %145, align 4, !alias.scope !25, !noalias !26
  %147 = sitofp i32 %146 to float
  %constant.72 = load float, ptr @19, align 4
  %multiply.18 = fmul float %147, %constant.72
  %148 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %dynamic-update-slice.11.indvar.dim.1
  %149 = load float, ptr %148, align 4, !alias.scope !28, !noalias !29
  %subtract.4 = fsub float %multiply.18, %149
  %constant.74 = load float, ptr @18, align 4
  %compare.24 = fcmp ole float %subtract.4, %constant.74
  %150 = zext i1 %compare.24 to i8
  %151 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.11.indvar.dim.1
  %152 = load float, ptr %151, align 4, !alias.scope !30, !noalias !31
  %153 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.11.indvar.dim.1
  %154 = load float, ptr %153, align 4, !alias.scope !30, !noalias !31
  %155 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %dynamic-update-slice.11.indvar.dim.1
  %156 = load float, ptr %155, align 4, !alias.scope !30, !noalias !31
  %157 = fneg float %156
  %158 = getelementptr inbounds [20 x float], ptr %copy.12, i64 0, i64 %dynamic-update-slice.11.indvar.dim.1
  %159 = load float, ptr %158, align 4, !alias.scope !32, !noalias !33
  %constant.71 = load float, ptr @17, align 4
  %add.29 = fadd float %159, %constant.71
  %add.28 = fadd float %157, %add.29
  %constant.41.clone.5 = load float, ptr @16, align 4
  %multiply.17 = fmul float %add.28, %constant.41.clone.5
  %add.27 = fadd float %154, %multiply.17
  %160 = trunc i8 %150 to i1
  %161 = select i1 %160, float %152, float %add.27
  %constant.70 = load float, ptr @15, align 4
  %compare.23 = fcmp oge float %161, %constant.70
  %162 = zext i1 %compare.23 to i8
  %163 = getelementptr inbounds [100 x [20 x i8]], ptr %fusion.2, i64 0, i64 %136, i64 %138
  store i8 %162, ptr %163, align 1, !alias.scope !42, !noalias !43
  %invar.inc6 = add nuw nsw i64 %dynamic-update-slice.11.indvar.dim.1, 1
  store i64 %invar.inc6, ptr %dynamic-update-slice.11.invar_address.dim.1, align 8
  br label %dynamic-update-slice.11.loop_header.dim.1

dynamic-update-slice.11.loop_exit.dim.1:          ; preds = %dynamic-update-slice.11.loop_header.dim.1
  %invar.inc5 = add nuw nsw i64 %dynamic-update-slice.11.indvar.dim.0, 1
  store i64 %invar.inc5, ptr %dynamic-update-slice.11.invar_address.dim.0, align 8
  br label %dynamic-update-slice.11.loop_header.dim.0

dynamic-update-slice.11.loop_exit.dim.0:          ; preds = %dynamic-update-slice.11.loop_header.dim.0
  %164 = getelementptr inbounds ptr, ptr %buffer_table, i64 6
  %fusion.3 = load ptr, ptr %164, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  store i64 0, ptr %fusion.3.invar_address.dim.0, align 8
  br label %fusion.3.loop_header.dim.0

fusion.3.loop_header.dim.0:                       ; preds = %fusion.3.loop_body.dim.0, %dynamic-update-slice.11.loop_exit.dim.0
  %fusion.3.indvar.dim.0 = load i64, ptr %fusion.3.invar_address.dim.0, align 8
  %165 = icmp uge i64 %fusion.3.indvar.dim.0, 20
  br i1 %165, label %fusion.3.loop_exit.dim.0, label %fusion.3.loop_body.dim.0

fusion.3.loop_body.dim.0:                         ; preds = %fusion.3.loop_header.dim.0
  %166 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %167 = sext i32 %166 to i64
  %168 = icmp sge i64 0, %167
  %169 = select i1 %168, i64 0, i64 %167
  %170 = icmp sle i64 99, %169
  %dynamic-slice.5.start_idx0 = select i1 %170, i64 99, i64 %169
  %171 = add i64 %dynamic-slice.5.start_idx0, 0
  %172 = getelementptr inbounds [100 x i32], ptr %16, i64 0, i64 %171
  %173 = load i32, ptr %172, align 4, !alias.scope !25, !noalias !26
  %174 = sitofp i32 %173 to float
  %constant.77 = load float, ptr @21, align 4
  %multiply.20 = fmul float %174, %constant.77
  %175 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %fusion.3.indvar.dim.0
  %176 = load float, ptr %175, align 4, !alias.scope !28, !noalias !29
  %subtract.5 = fsub float %multiply.20, %176
  %constant.78 = load float, ptr @25, align 4
  %compare.26 = fcmp ole float %subtract.5, %constant.78
  %177 = zext i1 %compare.26 to i8
  %178 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.3.indvar.dim.0
  %179 = load float, ptr %178, align 4, !alias.scope !30, !noalias !31
  %180 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.3.indvar.dim.0
  %181 = load float, ptr %180, align 4, !alias.scope !30, !noalias !31
  %182 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.3.indvar.dim.0
  %183 = load float, ptr %182, align 4, !alias.scope !30, !noalias !31
  %184 = fneg float %183
  %185 = getelementptr inbounds [20 x float], ptr %copy.12, i64 0, i64 %fusion.3.indvar.dim.0
  %186 = load float, ptr %185, align 4, !alias.scope !32, !noalias !33
  %constant.76 = load float, ptr @24, align 4
  %add.32 = fadd float %186, %constant.76
  %add.31 = fadd float %184, %add.32
  %constant.41.clone.6 = load float, ptr @23, align 4
  %multiply.19 = fmul float %add.31, %constant.41.clone.6
  %add.30 = fadd float %181, %multiply.19
  %187 = trunc i8 %177 to i1
  %188 = select i1 %187, float %179, float %add.30
  %constant.75 = load float, ptr @22, align 4
  %compare.25 = fcmp oge float %188, %constant.75
  %189 = zext i1 %compare.25 to i8
  %190 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %fusion.3.indvar.dim.0
  %191 = load float, ptr %190, align 4, !alias.scope !28, !noalias !29
  %192 = trunc i8 %189 to i1
  %193 = select i1 %192, float %multiply.20, float %191
  %194 = getelementptr inbounds [20 x float], ptr %fusion.3, i64 0, i64 %fusion.3.indvar.dim.0
  store float %193, ptr %194, align 4, !alias.scope !44, !noalias !45
  %invar.inc7 = add nuw nsw i64 %fusion.3.indvar.dim.0, 1
  store i64 %invar.inc7, ptr %fusion.3.invar_address.dim.0, align 8
  br label %fusion.3.loop_header.dim.0

fusion.3.loop_exit.dim.0:                         ; preds = %fusion.3.loop_header.dim.0
  %195 = getelementptr inbounds ptr, ptr %buffer_table, i64 12
  %fusion.5 = load ptr, ptr %195, align 8, !invariant.load !0, !dereferenceable !46, !align !2
  store i64 0, ptr %fusion.5.invar_address.dim.0, align 8
  br label %fusion.5.loop_header.dim.0

fusion.5.loop_header.dim.0:                       ; preds = %fusion.5.loop_body.dim.0, %fusion.3.loop_exit.dim.0
  %fusion.5.indvar.dim.0 = load i64, ptr %fusion.5.invar_address.dim.0, align 8
  %196 = icmp uge i64 %fusion.5.indvar.dim.0, 20
  br i1 %196, label %fusion.5.loop_exit.dim.0, label %fusion.5.loop_body.dim.0

fusion.5.loop_body.dim.0:                         ; preds = %fusion.5.loop_header.dim.0
  %197 = load i32, ptr %fusion.6, align 4, !alias.scope !11, !noalias !12
  %198 = sext i32 %197 to i64
  %199 = icmp sge i64 0, %198
  %200 = select i1 %199, i64 0, i64 %198
  %201 = icmp sle i64 99, %200
  %dynamic-slice.7.start_idx0 = select i1 %201, i64 99, i64 %200
  %202 = add i64 %dynamic-slice.7.start_idx0, 0
  %203 = getelementptr inbounds [100 x i32], ptr %16, i64 0, i64 %202
  %204 = load i32, ptr %203, align 4, !alias.scope !25, !noalias !26
  %205 = sitofp i32 %204 to float
  %constant.86 = load float, ptr @30, align 4
  %multiply.24 = fmul float %205, %constant.86
  %206 = getelementptr inbounds [20 x float], ptr %copy.15, i64 0, i64 %fusion.5.indvar.dim.0
  %207 = load float, ptr %206, align 4, !alias.scope !28, !noalias !29
  %subtract.7 = fsub float %multiply.24, %207
  %constant.87 = load float, ptr @29, align 4
  %compare.30 = fcmp ole float %subtract.7, %constant.87
  %208 = zext i1 %compare.30 to i8
  %209 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.5.indvar.dim.0
  %210 = load float, ptr %209, align 4, !alias.scope !30, !noalias !31
  %211 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.5.indvar.dim.0
  %212 = load float, ptr %211, align 4, !alias.scope !30, !noalias !31
  %213 = getelementptr inbounds [20 x float], ptr %copy.13, i64 0, i64 %fusion.5.indvar.dim.0
  %214 = load float, ptr %213, align 4, !alias.scope !30, !noalias !31
  %215 = fneg float %214
  %216 = getelementptr inbounds [20 x float], ptr %copy.12, i64 0, i64 %fusion.5.indvar.dim.0
  %217 = load float, ptr %216, align 4, !alias.scope !32, !noalias !33
  %constant.85 = load float, ptr @28, align 4
  %add.38 = fadd float %217, %constant.85
  %add.37 = fadd float %215, %add.38
  %constant.41.clone.8 = load float, ptr @27, align 4
  %multiply.23 = fmul float %add.37, %constant.41.clone.8
  %add.36 = fadd float %212, %multiply.23
  %218 = trunc i8 %208 to i1
  %219 = select i1 %218, float %210, float %add.36
  %constant.84 = load float, ptr @26, align 4
  %compare.29 = fcmp oge float %219, %constant.84
  %220 = zext i1 %compare.29 to i8
  %221 = getelementptr inbounds [20 x i8], ptr %fusion.5, i64 0, i64 %fusion.5.indvar.dim.0
  store i8 %220, ptr %221, align 1, !alias.scope !47, !noalias !48
  %invar.inc8 = add nuw nsw i64 %fusion.5.indvar.dim.0, 1
  store i64 %invar.inc8, ptr %fusion.5.invar_address.dim.0, align 8
  br label %fusion.5.loop_header.dim.0

fusion.5.loop_exit.dim.0:                         ; preds = %fusion.5.loop_header.dim.0
  %222 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %223 = load ptr, ptr %222, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %add.16 = getelementptr inbounds i8, ptr %223, i64 160
  %224 = load i32, ptr %copy.11, align 4, !alias.scope !4, !noalias !7
  %225 = load i32, ptr @constant.43, align 4, !alias.scope !49, !noalias !50
  %226 = add i32 %224, %225
  store i32 %226, ptr %add.16, align 4, !alias.scope !51, !noalias !52
  %227 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %228 = load ptr, ptr %227, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %broadcast.39 = getelementptr inbounds i8, ptr %228, i64 80
  store i64 0, ptr %broadcast.39.invar_address.dim.0, align 8
  br label %broadcast.39.loop_header.dim.0

broadcast.39.loop_header.dim.0:                   ; preds = %broadcast.39.loop_body.dim.0, %fusion.5.loop_exit.dim.0
  %broadcast.39.indvar.dim.0 = load i64, ptr %broadcast.39.invar_address.dim.0, align 8
  %229 = icmp uge i64 %broadcast.39.indvar.dim.0, 20
  br i1 %229, label %broadcast.39.loop_exit.dim.0, label %broadcast.39.loop_body.dim.0

broadcast.39.loop_body.dim.0:                     ; preds = %broadcast.39.loop_header.dim.0
  %230 = load float, ptr @constant.8, align 4, !alias.scope !53, !noalias !32
  %231 = getelementptr inbounds [20 x float], ptr %broadcast.39, i64 0, i64 %broadcast.39.indvar.dim.0
  store float %230, ptr %231, align 4, !alias.scope !32, !noalias !55
  %invar.inc9 = add nuw nsw i64 %broadcast.39.indvar.dim.0, 1
  store i64 %invar.inc9, ptr %broadcast.39.invar_address.dim.0, align 8
  br label %broadcast.39.loop_header.dim.0

broadcast.39.loop_exit.dim.0:                     ; preds = %broadcast.39.loop_header.dim.0
  %232 = getelementptr inbounds ptr, ptr %buffer_table, i64 4
  %copy.20 = load ptr, ptr %232, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.20, ptr align 1 %broadcast.39, i64 80, i1 false)
  %233 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %tuple.13 = load ptr, ptr %233, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %234 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 0
  store ptr %add.16, ptr %234, align 8, !alias.scope !56, !noalias !57
  %235 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 1
  store ptr %copy.20, ptr %235, align 8, !alias.scope !56, !noalias !57
  %236 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 2
  store ptr %fusion.4, ptr %236, align 8, !alias.scope !56, !noalias !57
  %237 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 3
  store ptr %fusion.5, ptr %237, align 8, !alias.scope !56, !noalias !57
  %238 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 4
  store ptr %fusion.3, ptr %238, align 8, !alias.scope !56, !noalias !57
  %239 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 5
  store ptr %fusion.2, ptr %239, align 8, !alias.scope !56, !noalias !57
  %240 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 6
  store ptr %fusion.1, ptr %240, align 8, !alias.scope !56, !noalias !57
  %241 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 7
  store ptr %fusion, ptr %241, align 8, !alias.scope !56, !noalias !57
  %242 = getelementptr inbounds [9 x ptr], ptr %tuple.13, i64 0, i64 8
  store ptr %16, ptr %242, align 8, !alias.scope !56, !noalias !57
  br label %return
}

; Function Attrs: nocallback nofree nounwind willreturn memory(argmem: readwrite)
declare void @llvm.memcpy.p0.p0.i64(ptr noalias nocapture writeonly, ptr noalias nocapture readonly, i64, i1 immarg) #1

; Function Attrs: uwtable
define internal void @wide.region_1.105.clone.clone(ptr %retval, ptr noalias %run_options, ptr noalias %params, ptr noalias %buffer_table, ptr noalias %status, ptr noalias %prof_counters) #0 {
entry:
  %0 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %wide.arg_tuple.2 = load ptr, ptr %0, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %1 = getelementptr inbounds [9 x ptr], ptr %wide.arg_tuple.2, i64 0, i64 0
  %2 = load ptr, ptr %1, align 8, !dereferenceable !3, !align !3
  %3 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %4 = load ptr, ptr %3, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %compare.14 = getelementptr inbounds i8, ptr %4, i64 80
  %5 = load i32, ptr %2, align 4, !alias.scope !51, !noalias !58
  %6 = load i32, ptr @constant.42, align 4, !alias.scope !61, !noalias !62
  %7 = icmp slt i32 %5, %6
  %8 = zext i1 %7 to i8
  store i8 %8, ptr %compare.14, align 1, !alias.scope !63, !noalias !64
  br label %return

return:                                           ; preds = %entry
  ret void
}

; Function Attrs: uwtable
define void @main.129(ptr %retval, ptr noalias %run_options, ptr noalias %params, ptr noalias %buffer_table, ptr noalias %status, ptr noalias %prof_counters) #0 {
entry:
  %broadcast.9.invar_address.dim.1 = alloca i64, align 8
  %broadcast.9.invar_address.dim.0 = alloca i64, align 8
  %broadcast.7.invar_address.dim.1 = alloca i64, align 8
  %broadcast.7.invar_address.dim.0 = alloca i64, align 8
  %0 = getelementptr inbounds ptr, ptr %buffer_table, i64 1
  %broadcast.7 = load ptr, ptr %0, align 8, !invariant.load !0, !dereferenceable !39, !align !2
  store i64 0, ptr %broadcast.7.invar_address.dim.0, align 8
  br label %broadcast.7.loop_header.dim.0

return:                                           ; preds = %while.2.exit
  ret void

broadcast.7.loop_header.dim.0:                    ; preds = %broadcast.7.loop_exit.dim.1, %entry
  %broadcast.7.indvar.dim.0 = load i64, ptr %broadcast.7.invar_address.dim.0, align 8
  %1 = icmp uge i64 %broadcast.7.indvar.dim.0, 100
  br i1 %1, label %broadcast.7.loop_exit.dim.0, label %broadcast.7.loop_body.dim.0

broadcast.7.loop_body.dim.0:                      ; preds = %broadcast.7.loop_header.dim.0
  store i64 0, ptr %broadcast.7.invar_address.dim.1, align 8
  br label %broadcast.7.loop_header.dim.1

broadcast.7.loop_header.dim.1:                    ; preds = %broadcast.7.loop_body.dim.1, %broadcast.7.loop_body.dim.0
  %broadcast.7.indvar.dim.1 = load i64, ptr %broadcast.7.invar_address.dim.1, align 8
  %2 = icmp uge i64 %broadcast.7.indvar.dim.1, 20
  br i1 %2, label %broadcast.7.loop_exit.dim.1, label %broadcast.7.loop_body.dim.1

broadcast.7.loop_body.dim.1:                      ; preds = %broadcast.7.loop_header.dim.1
  %3 = load i8, ptr @constant.6, align 1, !alias.scope !65, !noalias !42
  %4 = getelementptr inbounds [100 x [20 x i8]], ptr %broadcast.7, i64 0, i64 %broadcast.7.indvar.dim.0, i64 %broadcast.7.indvar.dim.1
  store i8 %3, ptr %4, align 1, !alias.scope !42, !noalias !67
  %invar.inc1 = add nuw nsw i64 %broadcast.7.indvar.dim.1, 1
  store i64 %invar.inc1, ptr %broadcast.7.invar_address.dim.1, align 8
  br label %broadcast.7.loop_header.dim.1

broadcast.7.loop_exit.dim.1:                      ; preds = %broadcast.7.loop_header.dim.1
  %invar.inc = add nuw nsw i64 %broadcast.7.indvar.dim.0, 1
  store i64 %invar.inc, ptr %broadcast.7.invar_address.dim.0, align 8
  br label %broadcast.7.loop_header.dim.0

broadcast.7.loop_exit.dim.0:                      ; preds = %broadcast.7.loop_header.dim.0
  %5 = getelementptr inbounds ptr, ptr %buffer_table, i64 2
  %copy.10 = load ptr, ptr %5, align 8, !invariant.load !0, !dereferenceable !39, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.10, ptr align 1 %broadcast.7, i64 2000, i1 false)
  %6 = getelementptr inbounds ptr, ptr %buffer_table, i64 0
  %broadcast.9 = load ptr, ptr %6, align 8, !invariant.load !0, !dereferenceable !36, !align !2
  store i64 0, ptr %broadcast.9.invar_address.dim.0, align 8
  br label %broadcast.9.loop_header.dim.0

broadcast.9.loop_header.dim.0:                    ; preds = %broadcast.9.loop_exit.dim.1, %broadcast.7.loop_exit.dim.0
  %broadcast.9.indvar.dim.0 = load i64, ptr %broadcast.9.invar_address.dim.0, align 8
  %7 = icmp uge i64 %broadcast.9.indvar.dim.0, 100
  br i1 %7, label %broadcast.9.loop_exit.dim.0, label %broadcast.9.loop_body.dim.0

broadcast.9.loop_body.dim.0:                      ; preds = %broadcast.9.loop_header.dim.0
  store i64 0, ptr %broadcast.9.invar_address.dim.1, align 8
  br label %broadcast.9.loop_header.dim.1

broadcast.9.loop_header.dim.1:                    ; preds = %broadcast.9.loop_body.dim.1, %broadcast.9.loop_body.dim.0
  %broadcast.9.indvar.dim.1 = load i64, ptr %broadcast.9.invar_address.dim.1, align 8
  %8 = icmp uge i64 %broadcast.9.indvar.dim.1, 20
  br i1 %8, label %broadcast.9.loop_exit.dim.1, label %broadcast.9.loop_body.dim.1

broadcast.9.loop_body.dim.1:                      ; preds = %broadcast.9.loop_header.dim.1
  %9 = load float, ptr @constant.8, align 4, !alias.scope !68, !noalias !37
  %10 = getelementptr inbounds [100 x [20 x float]], ptr %broadcast.9, i64 0, i64 %broadcast.9.indvar.dim.0, i64 %broadcast.9.indvar.dim.1
  store float %9, ptr %10, align 4, !alias.scope !37, !noalias !70
  %invar.inc3 = add nuw nsw i64 %broadcast.9.indvar.dim.1, 1
  store i64 %invar.inc3, ptr %broadcast.9.invar_address.dim.1, align 8
  br label %broadcast.9.loop_header.dim.1

broadcast.9.loop_exit.dim.1:                      ; preds = %broadcast.9.loop_header.dim.1
  %invar.inc2 = add nuw nsw i64 %broadcast.9.indvar.dim.0, 1
  store i64 %invar.inc2, ptr %broadcast.9.invar_address.dim.0, align 8
  br label %broadcast.9.loop_header.dim.0

broadcast.9.loop_exit.dim.0:                      ; preds = %broadcast.9.loop_header.dim.0
  %11 = getelementptr inbounds ptr, ptr %buffer_table, i64 8
  %Arg_0.1 = load ptr, ptr %11, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  %12 = getelementptr inbounds ptr, ptr %buffer_table, i64 5
  %copy.27 = load ptr, ptr %12, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.27, ptr align 1 %Arg_0.1, i64 80, i1 false)
  %13 = getelementptr inbounds ptr, ptr %buffer_table, i64 7
  %Arg_1.2 = load ptr, ptr %13, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  %14 = getelementptr inbounds ptr, ptr %buffer_table, i64 4
  %copy.28 = load ptr, ptr %14, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.28, ptr align 1 %Arg_1.2, i64 80, i1 false)
  %15 = getelementptr inbounds ptr, ptr %buffer_table, i64 9
  %Arg_3.4 = load ptr, ptr %15, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  %16 = getelementptr inbounds ptr, ptr %buffer_table, i64 6
  %copy.30 = load ptr, ptr %16, align 8, !invariant.load !0, !dereferenceable !24, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.30, ptr align 1 %Arg_3.4, i64 80, i1 false)
  %17 = getelementptr inbounds ptr, ptr %buffer_table, i64 13
  %Arg_2.3 = load ptr, ptr %17, align 8, !invariant.load !0, !dereferenceable !46, !align !2
  %18 = getelementptr inbounds ptr, ptr %buffer_table, i64 12
  %copy.29 = load ptr, ptr %18, align 8, !invariant.load !0, !dereferenceable !46, !align !2
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.29, ptr align 1 %Arg_2.3, i64 20, i1 false)
  %19 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %20 = load ptr, ptr %19, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %copy.31 = getelementptr inbounds i8, ptr %20, i64 160
  call void @llvm.memcpy.p0.p0.i64(ptr align 1 %copy.31, ptr align 1 @constant.10, i64 4, i1 false)
  %21 = getelementptr inbounds ptr, ptr %buffer_table, i64 3
  %Arg_4.5 = load ptr, ptr %21, align 8, !invariant.load !0, !dereferenceable !23, !align !2
  %22 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %tuple.10 = load ptr, ptr %22, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %23 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 0
  store ptr %copy.31, ptr %23, align 8, !alias.scope !56, !noalias !57
  %24 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 1
  store ptr %copy.28, ptr %24, align 8, !alias.scope !56, !noalias !57
  %25 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 2
  store ptr %copy.27, ptr %25, align 8, !alias.scope !56, !noalias !57
  %26 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 3
  store ptr %copy.29, ptr %26, align 8, !alias.scope !56, !noalias !57
  %27 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 4
  store ptr %copy.30, ptr %27, align 8, !alias.scope !56, !noalias !57
  %28 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 5
  store ptr %broadcast.7, ptr %28, align 8, !alias.scope !56, !noalias !57
  %29 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 6
  store ptr %broadcast.9, ptr %29, align 8, !alias.scope !56, !noalias !57
  %30 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 7
  store ptr %copy.10, ptr %30, align 8, !alias.scope !56, !noalias !57
  %31 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 8
  store ptr %Arg_4.5, ptr %31, align 8, !alias.scope !56, !noalias !57
  br label %while.2.header

while.2.header:                                   ; preds = %while.2.body, %broadcast.9.loop_exit.dim.0
  call void @wide.region_1.105.clone.clone(ptr null, ptr %run_options, ptr null, ptr %buffer_table, ptr %status, ptr %prof_counters)
  %32 = getelementptr inbounds ptr, ptr %buffer_table, i64 19
  %33 = load ptr, ptr %32, align 8, !invariant.load !0, !dereferenceable !1, !align !2
  %34 = getelementptr inbounds i8, ptr %33, i64 80
  %35 = load i8, ptr %34, align 1
  %36 = icmp ne i8 %35, 0
  br i1 %36, label %while.2.body, label %while.2.exit

while.2.body:                                     ; preds = %while.2.header
  call void @wide.region_0.34.clone.clone(ptr null, ptr %run_options, ptr null, ptr %buffer_table, ptr %status, ptr %prof_counters)
  br label %while.2.header

while.2.exit:                                     ; preds = %while.2.header
  %37 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 1
  %38 = load ptr, ptr %37, align 8, !dereferenceable !24, !align !2
  %39 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 2
  %40 = load ptr, ptr %39, align 8, !dereferenceable !24, !align !2
  %41 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 3
  %42 = load ptr, ptr %41, align 8, !dereferenceable !46, !align !2
  %43 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 4
  %44 = load ptr, ptr %43, align 8, !dereferenceable !24, !align !2
  %45 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 5
  %46 = load ptr, ptr %45, align 8, !dereferenceable !39, !align !2
  %47 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 6
  %48 = load ptr, ptr %47, align 8, !dereferenceable !36, !align !2
  %49 = getelementptr inbounds [9 x ptr], ptr %tuple.10, i64 0, i64 7
  %50 = load ptr, ptr %49, align 8, !dereferenceable !39, !align !2
  %51 = getelementptr inbounds ptr, ptr %buffer_table, i64 11
  %tuple.128 = load ptr, ptr %51, align 8, !invariant.load !0, !dereferenceable !71, !align !2
  %52 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 0
  store ptr %48, ptr %52, align 8, !alias.scope !72, !noalias !74
  %53 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 1
  store ptr %50, ptr %53, align 8, !alias.scope !72, !noalias !74
  %54 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 2
  store ptr %46, ptr %54, align 8, !alias.scope !72, !noalias !74
  %55 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 3
  store ptr %40, ptr %55, align 8, !alias.scope !72, !noalias !74
  %56 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 4
  store ptr %38, ptr %56, align 8, !alias.scope !72, !noalias !74
  %57 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 5
  store ptr %42, ptr %57, align 8, !alias.scope !72, !noalias !74
  %58 = getelementptr inbounds [7 x ptr], ptr %tuple.128, i64 0, i64 6
  store ptr %44, ptr %58, align 8, !alias.scope !72, !noalias !74
  br label %return
}

attributes #0 = { uwtable "denormal-fp-math"="preserve-sign" "no-frame-pointer-elim"="false" }
attributes #1 = { nocallback nofree nounwind willreturn memory(argmem: readwrite) }

!0 = !{}
!1 = !{i64 260}
!2 = !{i64 16}
!3 = !{i64 4}
!4 = !{!5}
!5 = !{!"buffer: {index:19, offset:240, size:4}", !6}
!6 = !{!"XLA global AA domain"}
!7 = !{!8, !9, !10}
!8 = !{!"buffer: {index:17, offset:0, size:4}", !6}
!9 = !{!"buffer: {index:19, offset:160, size:4}", !6}
!10 = !{!"buffer: {index:19, offset:256, size:4}", !6}
!11 = !{!10}
!12 = !{!13, !14, !15, !16, !17, !18, !19, !20, !21, !22, !5}
!13 = !{!"buffer: {index:0, offset:0, size:8000}", !6}
!14 = !{!"buffer: {index:1, offset:0, size:2000}", !6}
!15 = !{!"buffer: {index:2, offset:0, size:2000}", !6}
!16 = !{!"buffer: {index:3, offset:0, size:400}", !6}
!17 = !{!"buffer: {index:4, offset:0, size:80}", !6}
!18 = !{!"buffer: {index:5, offset:0, size:80}", !6}
!19 = !{!"buffer: {index:6, offset:0, size:80}", !6}
!20 = !{!"buffer: {index:12, offset:0, size:20}", !6}
!21 = !{!"buffer: {index:19, offset:80, size:80}", !6}
!22 = !{!"buffer: {index:19, offset:160, size:80}", !6}
!23 = !{i64 400}
!24 = !{i64 80}
!25 = !{!16}
!26 = !{!13, !14, !15, !17, !18, !19, !20, !27, !21, !9, !22, !10}
!27 = !{!"buffer: {index:19, offset:0, size:72}", !6}
!28 = !{!22}
!29 = !{!14, !15, !16, !17, !18, !19, !20, !21, !10}
!30 = !{!17}
!31 = !{!14, !15, !16, !18, !19, !20, !21, !22, !10}
!32 = !{!21}
!33 = !{!14, !15, !16, !17, !18, !19, !20, !22, !10}
!34 = !{!18}
!35 = !{!13, !14, !15, !16, !17, !19, !20, !27, !21, !9, !22, !10}
!36 = !{i64 8000}
!37 = !{!13}
!38 = !{!14, !15, !16, !17, !18, !19, !20, !27, !9, !10}
!39 = !{i64 2000}
!40 = !{!15}
!41 = !{!13, !14, !16, !17, !18, !19, !20, !27, !21, !9, !22, !10}
!42 = !{!14}
!43 = !{!13, !15, !16, !17, !18, !19, !20, !27, !21, !9, !22, !10}
!44 = !{!19}
!45 = !{!13, !14, !15, !16, !17, !18, !20, !27, !21, !9, !22, !10}
!46 = !{i64 20}
!47 = !{!20}
!48 = !{!13, !14, !15, !16, !17, !18, !19, !27, !21, !9, !22, !10}
!49 = !{!8}
!50 = !{!9, !5}
!51 = !{!9}
!52 = !{!13, !14, !15, !16, !17, !18, !19, !20, !8, !27, !5}
!53 = !{!54}
!54 = !{!"buffer: {index:18, offset:0, size:4}", !6}
!55 = !{!17, !54}
!56 = !{!27}
!57 = !{!13, !14, !15, !16, !17, !18, !19, !20, !9}
!58 = !{!59, !60}
!59 = !{!"buffer: {index:16, offset:0, size:4}", !6}
!60 = !{!"buffer: {index:19, offset:80, size:1}", !6}
!61 = !{!59}
!62 = !{!60, !9}
!63 = !{!60}
!64 = !{!59, !9}
!65 = !{!66}
!66 = !{!"buffer: {index:10, offset:0, size:1}", !6}
!67 = !{!13, !15, !16, !17, !18, !19, !66, !20, !27, !9}
!68 = !{!69}
!69 = !{!"buffer: {index:15, offset:0, size:4}", !6}
!70 = !{!14, !15, !16, !17, !18, !19, !20, !69, !27, !9}
!71 = !{i64 56}
!72 = !{!73}
!73 = !{!"buffer: {index:11, offset:0, size:56}", !6}
!74 = !{!13, !14, !15, !17, !18, !19, !20}
